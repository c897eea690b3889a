"""How far two predictions of the same sample are apart."""

import keras
from keras import ops


class Divergence(keras.losses.Loss):
    """What `CategoricalDivergence` and `BinaryDivergence` share.

    Args:
        from_logits: whether predictions are logits.
    """

    def __init__(self, from_logits=False, reduction="sum_over_batch_size", name=None, **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.from_logits = from_logits

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="kexue_keras")
class CategoricalDivergence(Divergence):
    r"""Kullback-Leibler divergence $\sum_i p_i \log(p_i / q_i)$ of two distributions over classes.

    Unlike `keras.losses.KLDivergence` it takes logits, too. The distance for models trained by
    (sparse) categorical cross-entropy.

    Args:
        from_logits: whether both predictions are logits, else probabilities.
        reduction, name: as of any Keras loss.

    Call arguments:
        y_true: the distribution $p$, float `(batch, ..., classes)`.
        y_pred: the distribution $q$, likewise.

    Example:

    >>> from kexue_keras import losses
    >>> divergence = losses.CategoricalDivergence()
    >>> round(float(divergence([[0.5, 0.5]], [[0.25, 0.75]])), 4)
    0.1438
    """

    def __init__(self, from_logits=False, name="categorical_divergence", **kwargs):
        super().__init__(from_logits, name=name, **kwargs)

    def call(self, y_true, y_pred):
        log_p, log_q = (_log_probabilities(x, self.from_logits) for x in (y_true, y_pred))
        return ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)


@keras.saving.register_keras_serializable(package="kexue_keras")
class BinaryDivergence(Divergence):
    """The mean Kullback-Leibler divergence of independent yes-or-no predictions.

    The distance for models trained by binary cross-entropy.

    Args:
        from_logits: whether both predictions are logits, else probabilities.
        reduction, name: as of any Keras loss.

    Call arguments:
        y_true: probabilities or logits of "yes", float `(batch, ..., predictions)`.
        y_pred: likewise.

    Example:

    >>> from kexue_keras import losses
    >>> divergence = losses.BinaryDivergence(from_logits=True)
    >>> round(float(divergence([[0.0]], [[0.0]])), 4)
    0.0
    """

    def __init__(self, from_logits=False, name="binary_divergence", **kwargs):
        super().__init__(from_logits, name=name, **kwargs)

    def call(self, y_true, y_pred):
        pairs = (_log_yes_and_no(x, self.from_logits) for x in (y_true, y_pred))
        p, q = pairs
        values = sum(ops.exp(a) * (a - b) for a, b in zip(p, q, strict=True))
        return ops.mean(values, axis=-1)


def _log_probabilities(x, from_logits):
    x = ops.cast(x, "float32")
    return ops.log_softmax(x, axis=-1) if from_logits else ops.log(ops.maximum(x, 1e-7))


def _log_yes_and_no(x, from_logits):
    x = ops.cast(x, "float32")
    if from_logits:
        return ops.log_sigmoid(x), ops.log_sigmoid(-x)
    x = ops.clip(x, 1e-7, 1 - 1e-7)
    return ops.log(x), ops.log(1 - x)
