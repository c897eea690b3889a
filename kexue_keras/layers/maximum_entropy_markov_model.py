"""Maximum-entropy Markov model, by default in both directions: a softmax at every step."""

import keras
from keras import ops

from kexue_keras.layers.label_lattice import (
    best_path,
    finite,
    stepwise_crossentropy,
)
from kexue_keras.layers.label_path_layer import LabelPathLayer


@keras.saving.register_keras_serializable(package="kexue_keras")
class MaximumEntropyMarkovModel(LabelPathLayer):
    """MEMM with bert4keras's interface: the last layer of a sequence labeller.

    `P(y) = P(y_1) prod_k P(y_k | y_{k-1})`, each factor a softmax of `f(y_k) + g(y_{k-1}, y_k)`.
    In both directions, the loss is the mean of that from left to right and that from right to left,
    with the same g. No recursion over the sequence is needed to train, which makes it faster than a
    CRF.

    bert4keras halves `f + g` (and thus all scores), which is not the article's formula; here it is
    not halved, and the loss is a sum over the steps, so that it compares with a CRF's.

        memm = MaximumEntropyMarkovModel(lr_multiplier=100)
        model = keras.Model(inputs, memm(dense(hidden)))
        model.compile("adam", loss=memm.sparse_loss, metrics=[memm.sparse_accuracy])
        labels = memm.decode(model.predict(x))

    A model compiled with these functions is saved and reloaded like any other.

    Args:
        lr_multiplier: learns the transitions this many times as fast as the other weights.
        hidden_dim: rank of the transitions, `g = l r^T`, for many labels; None: any matrix.
        bidirectional: False goes from left to right only.
        key: identity of the layer in a saved model.

    Attributes:
        trans: g, `(labels, labels)`; row: from, column: to.
        sparse_loss, dense_loss: functions of `(y_true, y_pred)`, float32 `(batch,)`, nats. y_true
            is int `(batch, length)` or one-hot; y_pred the layer's output. NaN if a visible
            position has a number that is no label, or a mask hides positions before visible ones.
        sparse_accuracy, dense_accuracy: share of visible positions whose largest logit is the
            label's, a scalar of the batch; transitions are left out, as in bert4keras. `decode` is
            exact.

    Input and output shape: `(batch, length, labels)`; the output is float32.

    Masking: a mask hides positions on the right, by its marks in the output; it goes no further.
    The first position always counts.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> memm = layers.MaximumEntropyMarkovModel()
    >>> logits = memm(np.array([[[0.0, 5.0], [5.0, 0.0]]], "float32"))
    >>> memm.decode(logits).tolist()
    [[1, 0]]

    Reference: https://kexue.fm/archives/7213
    """

    def __init__(self, lr_multiplier=1, hidden_dim=None, bidirectional=True, key=None, **kwargs):
        super().__init__(lr_multiplier, key, **kwargs)
        if hidden_dim is not None and hidden_dim < 1:
            raise ValueError(f"`hidden_dim` must be at least 1. Received: {hidden_dim}")
        self.hidden_dim = hidden_dim
        self.bidirectional = bidirectional

    def build(self, input_shape):
        labels = input_shape[-1]
        if self.hidden_dim is None:
            shapes = {"trans": (labels, labels)}
        else:
            shapes = {name: (labels, self.hidden_dim) for name in ("l_trans", "r_trans")}
        # Glorot's uniform one, small enough to be what it is after the multiplication
        spread = keras.initializers.VarianceScaling(1 / self.lr_multiplier**2, "fan_avg", "uniform")
        self._factors = [
            self.add_weight(
                shape=shape,
                initializer="zeros" if name == "trans" else spread,
                name=name,
            )
            for name, shape in shapes.items()
        ]

    @property
    def trans(self):
        left, right = self._sides()
        return left if right is None else ops.matmul(left, ops.transpose(right))

    def _sides(self):
        factors = [ops.cast(f, "float32") * self.lr_multiplier for f in self._factors]
        return factors if len(factors) == 2 else (finite(factors[0]), None)

    def _most_probable(self, logits, mask, starts, ends):
        """In both directions, the path of the largest mean of the two log probabilities."""
        trans = self.trans
        following = ops.concatenate([mask[:, 1:], ops.zeros_like(mask[:, :1])], axis=1)

        def pair_scores(before, after, goes_on):
            scores = trans[None] + after[:, None, :]
            forward = scores - ops.logsumexp(scores, axis=2, keepdims=True)
            if not self.bidirectional:
                return forward
            scores = trans[None] + before[:, :, None]
            backward = scores - ops.logsumexp(scores, axis=1, keepdims=True)
            # from right to left, the last visible position has no neighbour
            last = ops.where(goes_on[:, None], 0.0, ops.log_softmax(after, axis=-1))
            return (forward + backward + last[:, None, :]) / 2

        first = ops.log_softmax(logits[:, 0], axis=-1)
        if self.bidirectional:
            alone = ops.where(following[:, :1], 0.0, first)
            first = (first + alone) / 2
        inputs = [ops.swapaxes(x, 0, 1) for x in (logits[:, :-1], logits[:, 1:], following[:, 1:])]
        return best_path(first + starts, pair_scores, inputs, mask, ends)

    def _negative_log_likelihood(self, labels, logits, mask):
        left, right = self._sides()
        loss = self._one_way(labels, logits, left, right, slice(None, -1), slice(1, None))
        if not self.bidirectional:
            return loss
        if right is None:
            left = ops.transpose(left)
        else:
            left, right = right, left
        other = self._one_way(labels, logits, left, right, slice(1, None), slice(None, -1))
        return (loss + other) / 2

    def _one_way(self, labels, logits, left, right, before, after):
        """Summed cross-entropy `(batch,)`; masked labels are all 0 and cost nothing."""
        history = ops.matmul(labels[:, before], left)
        if right is not None:
            history = ops.matmul(history, ops.transpose(right))
        nothing = ops.zeros_like(logits[:, :1])
        parts = [nothing, history] if after.start else [history, nothing]
        return stepwise_crossentropy(labels, logits + ops.concatenate(parts, axis=1))

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "bidirectional": self.bidirectional,
        }
