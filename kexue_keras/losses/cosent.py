"""CoSENT: a ranking loss on the cosines of sentence pairs."""

import keras
from keras import ops

from kexue_keras.losses.arguments import check_scale, refuse_sample_weight
from kexue_keras.ops import LOWEST

_MAX_PAIRWISE = 256
_MAX_DOUBLINGS = 24


def cosent_loss(y_true, y_pred, scale=20.0):
    """Makes the cosines of a batch of pairs follow the order of their labels.

    `log(1 + sum exp(scale (c_k - c_i)))` over all i, k with `y_i > y_k`: the more similar pair is
    to have the larger cosine. Only the order of the labels counts, so they may be 0 and 1, classes
    (entailment 2, neutral 1, contradiction 0) or grades. Takes O(n log n) time and memory for large
    batches, O(n^2) for small ones, whichever is faster; the result is the same. Where the batch
    size is not known beforehand, as in `fit` on TensorFlow, the program chooses for every batch.

    Args:
        y_true: labels, `(n,)` or `(n, 1)`.
        y_pred: cosines, or any other scores, of the shape of `y_true`; computed in float32.
        scale: factor of the cosines.

    Returns:
        Scalar, float32; 0 if all labels are equal.

    Raises:
        ValueError: if the numbers of labels and scores differ, or `scale` is not positive.

    Example:

    >>> from kexue_keras import losses
    >>> round(float(losses.cosent_loss([1, 0], [0.4, 0.3])), 4)
    0.1269

    Reference: https://kexue.fm/archives/8847
    """
    check_scale(scale)
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    y_true = ops.reshape(ops.cast(y_true, "float32"), (-1,))
    scores = scale * ops.reshape(ops.cast(y_pred, "float32"), (-1,))
    sizes = y_true.shape[0], scores.shape[0]
    if None not in sizes and sizes[0] != sizes[1]:
        raise ValueError(
            "`y_true` and `y_pred` must have the same number of elements. "
            f"Received: {sizes[0]} labels, {sizes[1]} scores"
        )
    if sizes[1] is None:
        return ops.cond(
            ops.shape(scores)[0] <= _MAX_PAIRWISE,
            lambda: _loss_of_pairs(y_true, scores),
            lambda: _loss_of_sorted(y_true, scores),
        )
    if sizes[1] <= _MAX_PAIRWISE:
        return _loss_of_pairs(y_true, scores)
    return _loss_of_sorted(y_true, scores)


def _loss_of_pairs(y_true, scores):
    """The formula: all differences."""
    differences = scores[None, :] - scores[:, None]
    differences = ops.where(y_true[:, None] > y_true[None, :], differences, LOWEST)
    return ops.softplus(ops.logsumexp(ops.reshape(differences, (-1,))))


def _loss_of_sorted(y_true, scores):
    """`sum_i exp(-c_i) sum_{k: y_k < y_i} exp(c_k)`, the inner sums by a running log-sum-exp over
    the scores in the order of their labels."""
    order = ops.argsort(y_true)
    y_true, scores = ops.take(y_true, order), ops.take(scores, order)
    smaller = ops.cast(ops.searchsorted(y_true, y_true, side="left"), "int32")
    sums = ops.take(_cumulative_logsumexp(scores), ops.maximum(smaller - 1, 0))
    return ops.softplus(ops.logsumexp(ops.where(smaller > 0, sums - scores, LOWEST)))


def _cumulative_logsumexp(x):
    """Log-sum-exp of every prefix, by doubling the length summed over."""
    n = x.shape[0]
    places = ops.arange(ops.shape(x)[0], dtype="int32")
    for doubling in range(_MAX_DOUBLINGS if n is None else (n - 1).bit_length()):
        before = places - 2**doubling
        y = ops.where(before >= 0, ops.take(x, ops.maximum(before, 0)), LOWEST)
        largest = ops.stop_gradient(ops.maximum(x, y))
        x = largest + ops.log(ops.exp(x - largest) + ops.exp(y - largest))
    return x


@keras.saving.register_keras_serializable(package="kexue_keras")
class CoSENT(keras.losses.Loss):
    """`cosent_loss` as a loss for `compile`: a single number for the pairs of a batch.

    Every label is compared with every other one of its batch, so batches should be large and mixed.

    Args:
        scale: factor of the cosines.

    Call arguments:
        y_true: labels, `(batch,)` or `(batch, 1)`.
        y_pred: cosines, of the same shape.

    Example:

    >>> from kexue_keras import losses
    >>> round(float(losses.CoSENT(scale=10)([[1], [0]], [[0.4], [0.3]])), 4)
    0.3133
    """

    def __init__(self, scale=20.0, name="cosent", **kwargs):
        super().__init__(name=name, **kwargs)
        check_scale(scale)
        self.scale = scale

    def __call__(self, y_true, y_pred, sample_weight=None):
        refuse_sample_weight(sample_weight, "the loss compares the samples of a batch")
        return self.call(y_true, y_pred)

    def call(self, y_true, y_pred):
        return cosent_loss(y_true, y_pred, self.scale)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
