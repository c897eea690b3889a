"""A language model read from a table, whose texts can all be enumerated."""

import keras
import numpy as np
from keras import ops


class TableModel:
    """The logits of a token depend on the sample's table, the step and the token before.

    It is a `CachedModel`. A prompt's first token chooses the table, its last
    one stands before the first token.

    Args:
        tables: float `(tables, steps, vocabulary, vocabulary)`.
    """

    max_position = 64
    application = "unilm"

    def __init__(self, tables):
        self.tables = keras.Variable(np.asarray(tables, "float32"), trainable=False)
        self.variables = [self.tables]
        self.vocab_size = self.tables.shape[-1]
        self.compilations = 0

    def prefill(self, token_ids, segment_ids, lengths):
        self.compilations += 1
        last = ops.take_along_axis(token_ids, lengths[:, None] - 1, axis=1)
        source = {"which": token_ids[:, :1]}
        return self._lookup(source, 0, last)[:, 0], source

    def empty_cache(self, batch, slots, steps, shared):
        return [ops.zeros((batch,), "int32")]

    def step(self, token_ids, index, source, cache, visible):
        return self._lookup(source, index + 1, token_ids), [cache[0] + 1]

    def _lookup(self, source, step, previous):
        _, steps, size, _ = self.tables.shape
        table = ops.reshape(self.tables, (-1, size))
        return ops.take(table, (source["which"] * steps + step) * size + previous, axis=0)


def log_softmax(x):
    x = np.asarray(x, "float64")
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def all_texts(table, first, end_id, maxlen, min_ends=1, minlen=1):
    """Every finished and every unfinished text of a table `(steps, V, V)`: lists (ids, log p)."""
    finished, unfinished = [], []

    def grow(ids, previous, total):
        if len(ids) == maxlen:
            unfinished.append((ids, total))
            return
        for token, score in enumerate(log_softmax(table[len(ids), previous])):
            longer, sum_ = [*ids, token], total + score
            if token != end_id or longer.count(end_id) < min_ends:
                grow(longer, token, sum_)
            elif len(longer) >= minlen:
                finished.append((longer, sum_))

    grow([], first, 0.0)
    return finished, unfinished
