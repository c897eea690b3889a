"""A language model of games: a long history, read piece by piece, and many short continuations."""

import numpy as np
from keras import ops

from kexue_keras.decoding.attenders import Continuations, Extend
from kexue_keras.decoding.cached_transformer import CachedTransformer


class GameModel(CachedTransformer):
    """What `MoveScorer` computes, pure and of static shapes.

    Args:
        model: see `CachedTransformer`; application "lm".
    """

    def __init__(self, model):
        super().__init__(model)
        if self.condition_size is not None:
            raise ValueError(
                "`model` must have no condition, which a game has not. "
                f"Received: condition_size={self.condition_size}"
            )
        if self.start_id is not None:
            raise ValueError("`model` must have no encoder, which a game has not. Received: one")
        self.max_position = self.blueprint.config["max_position"]

    def empty(self):
        """A cache for a whole game: keys and values by block."""
        return self.empty_cache(1, 1, self.max_position, shared=True)

    def fingerprint(self):
        """Numbers that change whenever the model is trained or loads other weights."""
        names = self.blueprint.vocabulary_layers
        used = (self.blueprint.layers[name] for name in names if name in self.blueprint.layers)
        values = (ops.convert_to_numpy(v.value) for layer in used for v in layer.variables)
        return np.concatenate([np.ravel(np.array(value, "float32")) for value in values])

    def read(self, tokens, start, cache):
        """Reads a part of the history `(1, n)` that stands at `start`, a scalar.

        Returns:
            Log probabilities `(n, vocabulary)` of what follows each token, float32; the cache.
        """
        positions = start + ops.arange(tokens.shape[1], dtype="int32")
        attend = Extend(self.blueprint, positions, cache, start)
        logits = self._run(tokens, positions[None], attend)
        return ops.log_softmax(logits[0], axis=-1), attend.updated

    def continuations(self, tokens, lengths, cache):
        """Reads many short continuations `(n, steps)` of the history's first `lengths` `(n,)`.

        Returns:
            Log probabilities `(n, steps, vocabulary)` of what follows each token, float32.
        """
        positions = lengths[:, None] + ops.arange(tokens.shape[1], dtype="int32")
        attend = Continuations(self.blueprint, positions, cache, lengths)
        return ops.log_softmax(self._run(tokens, positions, attend), axis=-1)

    def _run(self, tokens, positions, attend):
        inputs = {"token_ids": tokens, "segment_ids": ops.zeros_like(tokens)}
        return self.logits(inputs, positions, attend)
