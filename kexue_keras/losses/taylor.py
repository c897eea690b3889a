"""Cross-entropy of Taylor-softmax, and of both kinds of softmax with a margin."""

import keras
from keras import ops

from kexue_keras.activations import check_order, log_taylor_softmax
from kexue_keras.losses.arguments import same_shape


def taylor_crossentropy(y_true, y_pred, order=2, margin=0.0, monotone=False):
    """`-log p` of the true class with Taylor-softmax in the place of softmax.

    A margin asks the true class to win by more: it is subtracted from that class's logit before
    the softmax. The paper calls this SM-Taylor-softmax, and SM-softmax with `order=None`.

    Args:
        y_true: ids of classes, `(...)`, or `(..., 1)`.
        y_pred: logits, finite, `(..., classes)`; computed in float32.
        order: even int, 2 or more; None: ordinary softmax.
        margin: number, not negative.
        monotone: as for `kexue_keras.activations.taylor_softmax`. Without it a very negative logit
            of the true class counts as a good one.

    Returns:
        `(...)`, float32, in nats; NaN for an id of no class.

    Raises:
        ValueError: if `order` is odd or less than 2, `margin` negative, or the shapes do not fit.

    Example:

    >>> from kexue_keras import losses
    >>> round(float(losses.taylor_crossentropy([1], [[0.0, 2.0]])[0]), 4)  # -log(5 / 6)
    0.1823
    >>> round(float(losses.taylor_crossentropy([1], [[0.0, 2.0]], margin=2.0)[0]), 4)
    0.6931

    Reference: https://kexue.fm/archives/7919; https://arxiv.org/abs/2011.11538
    """
    _check(order, margin)
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, axis=-1)
    if not same_shape(y_true.shape, y_pred.shape[:-1]):
        raise ValueError(
            "`y_true` must be ids of classes, of the shape of `y_pred` without its last axis. "
            f"Received: y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    true = ops.equal(ops.cast(y_true, "int32")[..., None], ops.arange(ops.shape(y_pred)[-1]))
    logits = ops.cast(y_pred, "float32") - margin * ops.cast(true, "float32")
    if order is None:
        logarithms = ops.log_softmax(logits)
    else:
        logarithms = log_taylor_softmax(logits, order, monotone=monotone)
    found = -ops.sum(ops.where(true, logarithms, 0.0), axis=-1)
    return ops.where(ops.any(true, axis=-1), found, float("nan"))


def _check(order, margin):
    if order is not None:
        check_order(order)
    if not margin >= 0:
        raise ValueError(f"`margin` must not be negative. Received: {margin}")


@keras.saving.register_keras_serializable(package="kexue_keras")
class TaylorCrossentropy(keras.losses.Loss):
    """`taylor_crossentropy` as a loss for `compile`.

    Args:
        order: even int, 2 or more; None: ordinary softmax.
        margin: number, not negative, subtracted from the logit of the true class.
        monotone: as for `kexue_keras.activations.taylor_softmax`.

    Example:

    >>> from kexue_keras import losses
    >>> loss = losses.TaylorCrossentropy()
    >>> round(float(loss([1], [[0.0, 2.0]])), 4)
    0.1823
    """

    def __init__(self, order=2, margin=0.0, monotone=False, name="taylor_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        _check(order, margin)
        self.order = order
        self.margin = margin
        self.monotone = monotone

    def call(self, y_true, y_pred):
        return taylor_crossentropy(y_true, y_pred, self.order, self.margin, self.monotone)

    def get_config(self):
        return {
            **super().get_config(),
            "order": self.order,
            "margin": self.margin,
            "monotone": self.monotone,
        }
