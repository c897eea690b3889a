"""Softmax over all sets of k labels, by elementary symmetric polynomials."""

from keras import ops

from kexue_keras.losses.arguments import check_same_shape
from kexue_keras.ops import LOWEST


def combinatorial_softmax_crossentropy(y_true, y_pred, k, at_most=False):
    """Cross-entropy of a softmax over all sets of k classes, a set's score the sum of its classes'.

    `log Z_k - sum_t s_t` with `Z_k`, the sum of `exp` over all sets of k classes, the elementary
    symmetric polynomial of `exp(s)`. The article computes it from power sums by Newton's
    identities, which cancel; here every class in turn either joins a set or does not,
    `Z_j <- Z_j + exp(s_i) Z_{j-1}`, in logarithms, so that nothing is ever subtracted. For k = 1 it
    is softmax cross-entropy. The article goes on from here to
    `multilabel_categorical_crossentropy`, which needs no k.

    Args:
        y_true: `(..., classes)` of 0 and 1: k ones in every row, or with `at_most` up to k.
        y_pred: scores `(..., classes)` without activation; computed in float32. A class whose
            score is -inf is in no set, whatever its label.
        k: size of the sets, a positive integer up to the number of classes.
        at_most: softmax over the sets of up to k classes, the empty one too: the places that are
            left over are taken by a threshold class of score 0.

    Returns:
        `(...)`, float32, in nats.

    Raises:
        ValueError: if the shapes differ or `k` is out of range.

    Example:

    >>> from kexue_keras import losses
    >>> loss = losses.combinatorial_softmax_crossentropy([[1, 0, 1]], [[0.0, 0.0, 0.0]], k=2)
    >>> round(float(loss[0]), 4)  # one of three sets
    1.0986

    Reference: https://kexue.fm/archives/7359
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    check_same_shape(y_true, y_pred)
    classes = y_pred.shape[-1]
    if not isinstance(k, int) or not 1 <= k <= classes:
        raise ValueError(f"`k` must be an integer from 1 to {classes}, the classes. Received: {k}")
    y_pred = ops.cast(y_pred, "float32")
    counts = ops.not_equal(y_pred, -float("inf"))  # NaN counts, and is seen
    scores = ops.where(counts, y_pred, LOWEST)
    chosen = ops.where(ops.logical_and(counts, ops.cast(y_true, "bool")), scores, 0.0)
    empty = ops.zeros_like(scores[..., :1])
    none = ops.full_like(empty, LOWEST)

    def join(logs, score):
        joined = ops.concatenate([none, logs[..., :-1] + score[..., None]], axis=-1)
        logs = ops.maximum(ops.logaddexp(logs, joined), LOWEST)
        return logs, None

    first = ops.concatenate([empty, ops.repeat(none, k, axis=-1)], axis=-1)
    logs, _ = ops.scan(join, first, ops.moveaxis(scores, -1, 0))
    partition = ops.logsumexp(logs, axis=-1) if at_most else logs[..., -1]
    return partition - ops.sum(chosen, axis=-1)
