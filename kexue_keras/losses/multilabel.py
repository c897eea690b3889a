"""Multi-label classification as a generalization of softmax cross-entropy."""

import keras
from keras import ops

from kexue_keras.losses.arguments import check_same_shape, check_scale, same_shape
from kexue_keras.ops import LOWEST

_NOTHING = -1e38  # still far below when added to a sum of such scores


def multilabel_categorical_crossentropy(y_true, y_pred):
    """Softmax cross-entropy for several labels at once: every positive score above 0 above every
    negative one.

    `log(1 + sum_i t_i exp(-s_i)) + log(1 + sum_i (1 - t_i) exp(s_i))`; for labels 0 and 1 the sums
    run over the positive and the negative classes. No class is rare here: the number of labels
    needs no balance as with one sigmoid per class. Predict the classes whose score is above 0. With
    soft labels the optimum is `t = sigmoid(2 s)`, so `sigmoid(2 s)` is a probability.

    Args:
        y_true: `(..., classes)`, from 0 to 1.
        y_pred: scores `(..., classes)` without activation; computed in float32. A class whose
            score is -inf does not count, whatever its label.

    Returns:
        `(...)`, float32, in nats.

    Example:

    >>> from kexue_keras import losses
    >>> loss = losses.multilabel_categorical_crossentropy([[1, 0, 0]], [[9.0, -9.0, -9.0]])
    >>> round(float(loss[0]), 4)
    0.0004

    Reference: https://kexue.fm/archives/7359, https://kexue.fm/archives/9064 (soft labels);
    https://arxiv.org/abs/2208.02955
    """
    y_true, counts, scores = _prepared(y_true, y_pred)
    positive = _log_sum(counts, y_true, -scores)
    negative = _log_sum(counts, 1 - y_true, scores)
    return ops.softplus(positive) + ops.softplus(negative)


def sparse_multilabel_categorical_crossentropy(y_true, y_pred, mask_zero=False):
    """`multilabel_categorical_crossentropy` for labels given as the ids of the positive classes.

    Args:
        y_true: ids of classes, `(..., labels)`; an id may occur more than once and counts once. One
            below 0 or beyond the last class, such as a padding of -1, does not count.
        y_pred: scores `(..., classes)` without activation; computed in float32. A class whose
            score is -inf does not count.
        mask_zero: whether the id 0 is padding; class 0 then has no score that counts.

    Returns:
        `(...)`, float32, in nats.

    Example:

    >>> from kexue_keras import losses
    >>> scores = [[0.0, 9.0, -9.0, 9.0]]
    >>> loss = losses.sparse_multilabel_categorical_crossentropy([[3, 1, 0]], scores, True)
    >>> round(float(loss[0]), 4)
    0.0004

    Reference: as `multilabel_categorical_crossentropy`.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    if not same_shape(y_true.shape[:-1], y_pred.shape[:-1]) or not y_true.shape:
        raise ValueError(
            "`y_true` must have the shape of `y_pred` but for the last axis, (..., labels) and "
            "(..., classes). "
            f"Received: y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    shape = ops.shape(y_pred)
    classes = shape[-1]
    y_pred = ops.reshape(ops.cast(y_pred, "float32"), (-1, classes))
    ids = ops.reshape(ops.cast(y_true, "int32"), (-1, ops.shape(y_true)[-1]))
    rows = ops.arange(ops.shape(y_pred)[0], dtype="int32")[:, None]
    # one more place in every row, for the ids of no class
    ids = ops.where(ops.logical_and(ids >= 0, ids < classes), ids, classes)
    places = ops.reshape(rows * (classes + 1) + ids, (-1, 1))
    dense = ops.zeros((ops.shape(y_pred)[0] * (classes + 1),), "float32")
    dense = ops.scatter_update(dense, places, ops.ones_like(places[:, 0], "float32"))
    dense = ops.reshape(dense, (-1, classes + 1))[:, :-1]
    if mask_zero:
        y_pred = ops.where(ops.arange(classes) > 0, y_pred, -float("inf"))
    return ops.reshape(multilabel_categorical_crossentropy(dense, y_pred), shape[:-1])


def log_sum_exp_pairwise_loss(y_true, y_pred, scale=1.0, margin=0.0):
    """Every positive score above every negative one; there is no threshold (LSEP loss).

    `log(1 + sum_ij (1 - t_i) t_j exp(scale (s_i - s_j + margin)))`. What the article starts from
    where the number k of labels is known: predict the k classes of the highest scores. With `scale`
    and `margin` it is what the circle loss starts from. The double sum is the product of two.

    Args:
        y_true: `(..., classes)`, from 0 to 1.
        y_pred: scores `(..., classes)` without activation; computed in float32. A class whose
            score is -inf does not count, whatever its label.
        scale: positive number, times which differences of scores count.
        margin: by how much a positive score shall be above a negative one.

    Returns:
        `(...)`, float32, in nats; 0 where all classes have the same label.

    Raises:
        ValueError: if the shapes differ or `scale` is not positive.

    Example:

    >>> from kexue_keras import losses
    >>> loss = losses.log_sum_exp_pairwise_loss([[1, 0, 0]], [[2.0, 2.0, 2.0]])  # log(1 + 1 + 1)
    >>> round(float(loss[0]), 4)
    1.0986

    Reference: https://kexue.fm/archives/7359; circle loss: https://arxiv.org/abs/2002.10857
    """
    check_scale(scale)
    y_true, counts, scores = _prepared(y_true, y_pred)
    scores = ops.clip(scale * scores, LOWEST, -LOWEST)
    positive = _log_sum(counts, y_true, -scores)
    negative = _log_sum(counts, 1 - y_true, scores)
    return ops.softplus(positive + negative + scale * margin)


def _prepared(y_true, y_pred):
    """Labels in float32, which classes count, and finite scores in float32."""
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    check_same_shape(y_true, y_pred)
    y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
    counts = ops.not_equal(y_pred, -float("inf"))  # NaN counts, and is seen
    return y_true, counts, ops.clip(ops.where(counts, y_pred, 0.0), LOWEST, -LOWEST)


def _log_sum(counts, weights, exponents):
    """`log(sum_i weights_i exp(exponents_i))` over the places that count; very low for none."""
    counts = ops.logical_and(counts, weights > 0)
    # the inner `where` keeps the infinite derivative of log at 0 out of the gradient
    logarithms = ops.log(ops.where(counts, weights, 1.0)) + exponents
    return ops.logsumexp(ops.where(counts, logarithms, _NOTHING), axis=-1)


@keras.saving.register_keras_serializable(package="kexue_keras")
class MultilabelCategoricalCrossentropy(keras.losses.Loss):
    """`multilabel_categorical_crossentropy` as a loss for `compile`.

    Example:

    >>> from kexue_keras import losses
    >>> loss = losses.MultilabelCategoricalCrossentropy()
    >>> round(float(loss([[1, 0, 0]], [[9.0, -9.0, -9.0]])), 4)
    0.0004
    """

    def __init__(self, name="multilabel_categorical_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return multilabel_categorical_crossentropy(y_true, y_pred)


@keras.saving.register_keras_serializable(package="kexue_keras")
class SparseMultilabelCategoricalCrossentropy(keras.losses.Loss):
    """`sparse_multilabel_categorical_crossentropy` as a loss for `compile`.

    Args:
        mask_zero: whether the id 0 is padding.

    Example:

    >>> from kexue_keras import losses
    >>> loss = losses.SparseMultilabelCategoricalCrossentropy(mask_zero=True)
    >>> round(float(loss([[3, 1, 0]], [[0.0, 9.0, -9.0, 9.0]])), 4)
    0.0004
    """

    def __init__(
        self, mask_zero=False, name="sparse_multilabel_categorical_crossentropy", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.mask_zero = mask_zero

    def call(self, y_true, y_pred):
        return sparse_multilabel_categorical_crossentropy(y_true, y_pred, self.mask_zero)

    def get_config(self):
        return {**super().get_config(), "mask_zero": self.mask_zero}


@keras.saving.register_keras_serializable(package="kexue_keras")
class LogSumExpPairwise(keras.losses.Loss):
    """`log_sum_exp_pairwise_loss` as a loss for `compile`.

    Args:
        scale: positive number, times which differences of scores count.
        margin: by how much a positive score shall be above a negative one.

    Example:

    >>> from kexue_keras import losses
    >>> loss = losses.LogSumExpPairwise()
    >>> round(float(loss([[1, 0, 0]], [[2.0, 2.0, 2.0]])), 4)
    1.0986
    """

    def __init__(self, scale=1.0, margin=0.0, name="log_sum_exp_pairwise", **kwargs):
        super().__init__(name=name, **kwargs)
        check_scale(scale)
        self.scale = scale
        self.margin = margin

    def call(self, y_true, y_pred):
        return log_sum_exp_pairwise_loss(y_true, y_pred, self.scale, self.margin)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "margin": self.margin}
