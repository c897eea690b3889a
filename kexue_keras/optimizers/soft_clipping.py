"""Gradient clipping by the norm of all gradients, hard or soft, around any optimizer."""

import functools
import math

import keras
from keras import ops

from kexue_keras import backend
from kexue_keras.optimizers.gradients import add_slot, dense
from kexue_keras.optimizers.optimizer_wrapper import OptimizerWrapper


@keras.saving.register_keras_serializable(package="kexue_keras")
class SoftClipping(OptimizerWrapper):
    r"""Clips the gradient of all weights together, then lets another optimizer update.

    With the norm $\|g\|$ over the gradients of all weights, the optimizer gets

    - `mode="hard"`: $g \min(1, \gamma / \|g\|)$, as `global_clipnorm` of Keras does;
    - `mode="soft"`: $g\, \gamma / (\|g\| + \gamma)$, which is never more and never less than half.

    Either way the direction stays, and the norm is at most $\gamma$. If the gradient of the loss
    changes by at most $(L_0 + L_1 \|g\|)\,\|d\|$ over a step $d$, the best step of gradient descent
    is $g / (L_0 + L_1 \|g\|)$: the soft form with the learning rate $1 / L_0$ and
    $\gamma = L_0 / L_1$. As $\gamma \to \infty$ both forms are the optimizer alone. Adam and others
    that divide by the size of past gradients hardly notice a constant factor; what they notice is
    that large gradients count less.

    The norm is computed in float32 and cannot overflow. Gradients that are not finite are passed
    on as they are. In mixed precision, the optimizer that scales the loss goes outside,
    `LossScaleOptimizer(SoftClipping(Adam()))`, as `compile` puts it by itself, so that a step that
    overflows is skipped and $\gamma$ is compared with the gradient of the loss itself. If the
    optimizer accumulates gradients over several steps, their mean is clipped; that takes a second
    set of sums, and Keras cannot do it under `tf.distribute`. Learning rate, iterations and slots
    are those of the optimizer; they are saved and loaded with this one.

    Gradients come out dense. Under `tf.distribute` the norm is that of the whole batch.

    Args:
        optimizer: a Keras optimizer, or its name or config. Its own `clipnorm` and the like are
            applied afterwards.
        gamma: the norm $\gamma$ above 0, in units of the loss by the weights.
        mode: "soft" or "hard".
        name: of this optimizer.

    Raises:
        ValueError: `gamma` or `mode` is not as above, or `optimizer` scales the loss.

    Example:

    >>> import keras
    >>> from kexue_keras.optimizers import SoftClipping
    >>> x = keras.Variable([0.0, 0.0])
    >>> optimizer = SoftClipping(keras.optimizers.SGD(1.0), gamma=5.0)
    >>> optimizer.apply([keras.ops.array([3.0, 4.0])], [x])
    >>> [round(float(i), 4) for i in keras.ops.convert_to_numpy(x)]
    [-1.5, -2.0]

    Reference: https://kexue.fm/archives/7469; Zhang et al. 2019, https://arxiv.org/abs/1905.11881
    """

    def __init__(self, optimizer, gamma, mode="soft", name=None):
        super().__init__(optimizer, name)
        if not (math.isfinite(gamma) and gamma > 0):
            raise ValueError(f"`gamma` must be above 0. Received: {gamma}")
        if mode not in ("soft", "hard"):
            raise ValueError(f'`mode` must be "soft" or "hard". Received: {mode!r}')
        self.gamma = gamma
        self.mode = mode

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._sums = []
        for variable in variables if self.optimizer.gradient_accumulation_steps else ():
            self._sums.append(add_slot(self, variable, "sum"))

    def step(self, gradients, variables):
        super().step(self._clipped(gradients, variables), variables)

    def _clipped(self, gradients, variables):
        """The gradients that the optimizer gets; those that are no gradients stay as they are."""
        gradients = list(gradients)
        if len(gradients) != len(variables):
            raise ValueError(
                f"`grads` must be {len(variables)} gradients, one a weight. "
                f"Received: {len(gradients)}"
            )
        chosen = [
            i
            for i, (gradient, variable) in enumerate(zip(gradients, variables, strict=True))
            if gradient is not None and not self._overwrite_variable_with_gradient(variable)
        ]
        whole = [backend.sum_over_replicas(dense(gradients[i], variables[i])) for i in chosen]
        steps = self.optimizer.gradient_accumulation_steps
        if steps:
            sums = [self._sums[self._get_variable_index(variables[i])] for i in chosen]
            last = ops.equal((self._iterations + 1) % steps, 0)
            whole = [x + ops.cast(total, x.dtype) for x, total in zip(whole, sums, strict=True)]
            for x, total in zip(whole, sums, strict=True):
                self.assign(total, ops.where(last, ops.zeros_like(x), x))
            # the optimizer takes the mean over the steps: of nothing but the last one's
            clipped = self.clip([x / steps for x in whole])
            clipped = [ops.where(last, steps * x, ops.zeros_like(x)) for x in clipped]
        else:
            clipped = self.clip(whole)
        for i, x in zip(chosen, clipped, strict=True):
            # which also sums over the replicas
            gradients[i] = ops.cast(x / backend.replicas(), gradients[i].dtype)
        return gradients

    def clip(self, gradients):
        """The formula.

        Args:
            gradients: list of tensors of float32 or more. If the loss was scaled by
                `loss_scale_factor`, they are clipped as they would be without.

        Returns:
            List of tensors.
        """
        if not gradients:
            return gradients
        gamma = self.gamma * (self.loss_scale_factor or 1.0)
        largest = functools.reduce(ops.maximum, [ops.max(ops.abs(g)) for g in gradients])
        # in units of which no square overflows, and those that vanish do not count
        unit = ops.maximum(largest, gamma)
        parts = [g / ops.cast(unit, g.dtype) for g in gradients]
        norm = ops.sqrt(functools.reduce(ops.add, [ops.sum(ops.square(x)) for x in parts]))
        if self.mode == "soft":
            factor, changed = gamma / (norm + gamma / unit), ops.isfinite(norm)
        else:
            factor, changed = gamma / norm, norm * unit > gamma
        return [
            ops.where(changed, x * ops.cast(factor, x.dtype), g)
            for x, g in zip(parts, gradients, strict=True)
        ]

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma, "mode": self.mode}
