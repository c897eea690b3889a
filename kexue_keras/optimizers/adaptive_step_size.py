"""Gradient descent whose steps, one for every number, learn their own size."""

import math

import keras
from keras import ops

from kexue_keras.optimizers.gradients import add_slot, computation_dtype, dense


@keras.saving.register_keras_serializable(package="kexue_keras")
class AdaptiveStepSize(keras.optimizers.Optimizer):
    r"""SGD with a gain for every number of the weights, trained by exponentiated gradient.

    The update is $\theta_{t+1} = \theta_t - \eta\, \nu_{t+1} g_t$, all elementwise. The gradient of
    the loss by the gains of the last step is $-\eta\, g_{t-1} g_t$, and a step of exponentiated
    gradient on it,
    $$\nu_{t+1} = \nu_t \exp(\gamma\, g_{t-1} g_t), \qquad \nu_1 = 1,$$
    keeps them positive: $\nu_{t+1} = \exp(\gamma \sum_{k \le t} g_{k-1} g_k)$. Where gradients keep
    their sign, steps grow, where they alternate, steps shrink. The factor $\eta$ is inside of
    $\gamma$. With `meta_rate=0` this is SGD.

    The exponent is a product of two gradients, so a sensible `meta_rate` depends on their scale
    squared, and differs between weights. With `normalized=True` each gradient is divided by the
    root mean square of its weight first. Then the mean of the exponents over a weight is $\gamma$
    times the cosine between the two gradients, the scale of the loss does not matter, and 0.01
    works widely. By what the article and the paper's abstract say, the paper normalizes, too; it
    has one scale for all weights, moved by the alignment of gradients, apart from the gains, where
    here the mean of the gains' logarithms over a weight is that scale. And it takes a moving
    average in the place of $g_{t-1}$: `average`.

    The form of the article is the default, since it is what the article derives; the normalized
    one is safer. Neither can overflow: a step changes a gain by the factor $e$ at most
    (`max_exponent`), and gains stay between `1 / max_gain` and `max_gain`. Without that, gradients
    of (1, 100) and `meta_rate=1e-3` would make the second gain $e^{10}$ at once. That a step which
    is too large for the curvature diverges, as in SGD, is not ruled out.

    Args:
        learning_rate: $\eta$; float, schedule or callable.
        meta_rate: $\gamma$, at least 0.
        normalized: whether gradients are normalized inside the exponent.
        average: decay of the moving average of past gradients, from 0 (the last one alone) to
            below 1. It starts at zero.
        max_exponent: largest absolute value of an exponent, above 0.
        max_gain: largest gain, above 1.
        **kwargs: those of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> import keras
    >>> from kexue_keras.optimizers import AdaptiveStepSize
    >>> x = keras.Variable([1.0, 1.0])
    >>> optimizer = AdaptiveStepSize(0.1, meta_rate=0.5)
    >>> for gradient in ([1.0, 1.0], [1.0, -1.0]):
    ...     optimizer.apply([keras.ops.array(gradient)], [x])
    >>> [[round(float(gain), 3) for gain in gains] for gains in optimizer.gains]
    [[1.649, 0.607]]

    Reference: https://kexue.fm/archives/8968; Amid et al. 2022, https://arxiv.org/abs/2202.00145
    """

    def __init__(
        self,
        learning_rate,
        meta_rate,
        normalized=False,
        average=0.0,
        max_exponent=1.0,
        max_gain=1e4,
        **kwargs,
    ):
        if not (math.isfinite(meta_rate) and meta_rate >= 0):
            raise ValueError(f"`meta_rate` must be at least 0. Received: {meta_rate}")
        if not 0 <= average < 1:
            raise ValueError(f"`average` must be from 0 to below 1. Received: {average}")
        if not (math.isfinite(max_exponent) and max_exponent > 0):
            raise ValueError(f"`max_exponent` must be above 0. Received: {max_exponent}")
        if not 1 < max_gain <= 1e30:
            raise ValueError(f"`max_gain` must be above 1, up to 1e30. Received: {max_gain}")
        super().__init__(learning_rate, **kwargs)
        self.meta_rate = meta_rate
        self.normalized = normalized
        self.average = average
        self.max_exponent = max_exponent
        self.max_gain = max_gain

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._past, self._log_gains = [], []
        for variable in variables:
            has_gain = not self._overwrite_variable_with_gradient(variable)
            self._past.append(add_slot(self, variable, "past_gradient") if has_gain else None)
            self._log_gains.append(add_slot(self, variable, "log_gain") if has_gain else None)

    @property
    def gains(self):
        """The gains of every weight now, a list of tensors."""
        if not self.built:
            raise ValueError("An optimizer has gains after its first step only. Received: none yet")
        return [ops.exp(gain) for gain in self._log_gains if gain is not None]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        past, log_gain = self._past[index], self._log_gains[index]
        dtype = computation_dtype(variable)
        gradient, before = dense(gradient, variable), ops.convert_to_tensor(past)
        now = gradient
        if self.normalized:
            now, before = over_rms(now), over_rms(before)
        # in this order no infinite product is multiplied by a rate of zero
        exponent = (self.meta_rate * before) * now
        exponent = ops.clip(exponent, -self.max_exponent, self.max_exponent)
        limit = math.log(self.max_gain)
        log_gains = ops.clip(ops.convert_to_tensor(log_gain) + exponent, -limit, limit)
        self.assign(log_gain, log_gains)
        mean = self.average * ops.convert_to_tensor(past) + (1 - self.average) * gradient
        self.assign(past, mean if self.average else gradient)
        step = ops.cast(learning_rate, dtype) * (ops.exp(log_gains) * gradient)
        self.assign(variable, ops.cast(ops.cast(variable, dtype) - step, variable.dtype))

    def get_config(self):
        return {
            **super().get_config(),
            "meta_rate": self.meta_rate,
            "normalized": self.normalized,
            "average": self.average,
            "max_exponent": self.max_exponent,
            "max_gain": self.max_gain,
        }


def over_rms(x):
    """`x` divided by the root of its mean square, for any scale; zeros stay zeros.

    Example:

    >>> from kexue_keras.optimizers.adaptive_step_size import over_rms
    >>> [round(float(i), 4) for i in over_rms([3e30, -4e30])]
    [0.8485, -1.1314]
    """
    x = ops.convert_to_tensor(x)
    largest = ops.max(ops.abs(x))
    x = x / ops.where(largest > 0, largest, 1.0)
    mean = ops.mean(ops.square(x))
    return x / ops.sqrt(ops.where(largest > 0, mean, 1.0))
