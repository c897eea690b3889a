"""Learning rates of their own for some weights, around any optimizer."""

import math
import re

import keras
from keras import ops

from kexue_keras.optimizers.gradients import computation_dtype
from kexue_keras.optimizers.optimizer_wrapper import OptimizerWrapper


@keras.saving.register_keras_serializable(package="kexue_keras")
class LearningRateMultipliers(OptimizerWrapper):
    r"""Multiplies the steps of some weights by factors, whatever the optimizer.

    Layers that start from nothing (a CRF, a classifier) often want a larger learning rate than the
    pretrained ones below, and lower layers a smaller one than upper layers. If the optimizer takes
    a weight from $\theta$ to $\theta'$, its weight decay included, this one takes it to
    $\theta + f (\theta' - \theta)$. For Adam and others whose step does not depend on the size of
    the gradient, a factor on the gradient would do nothing.

    Learning rate, iterations and slots are those of the optimizer; they are saved and loaded with
    this one. In mixed precision, `LossScaleOptimizer` goes outside, as `compile` puts it. The
    moving averages of `use_ema` are those of the unscaled steps; take care of averages outside.

    Args:
        optimizer: a Keras optimizer, or its name or config.
        multipliers: dict of patterns (regular expressions) to factors, not below 0. The factor of a
            weight is the product over all patterns that are found in its path, such as
            `"Transformer-0-FeedForward/dense/kernel"`, and 1 where there is none. 0 leaves a weight
            as it is.
        name: of this optimizer.

    Raises:
        ValueError: a factor is below 0, `optimizer` scales the loss or averages weights, or, as it
            is built, a pattern is found in no path.

    Example:

    >>> import keras
    >>> from kexue_keras.optimizers import LearningRateMultipliers
    >>> x, y = keras.Variable([1.0], name="x"), keras.Variable([1.0], name="y")
    >>> optimizer = LearningRateMultipliers(keras.optimizers.SGD(0.1), {"y": 5})
    >>> optimizer.apply([keras.ops.ones(1), keras.ops.ones(1)], [x, y])
    >>> [round(float(keras.ops.convert_to_numpy(v)[0]), 4) for v in (x, y)]
    [0.9, 0.5]

    Reference: https://kexue.fm/archives/6418; bert4keras's `extend_with_parameter_wise_lr`
    """

    def __init__(self, optimizer, multipliers, name=None):
        super().__init__(optimizer, name)
        if self.optimizer.use_ema:
            raise ValueError(
                "`optimizer` must not have `use_ema`: its averages would be those of the steps "
                "without factors. Received: use_ema=True"
            )
        for pattern, factor in multipliers.items():
            if not (math.isfinite(factor) and factor >= 0):
                raise ValueError(
                    "`multipliers` must have factors of at least 0. Received: "
                    f"{pattern!r}: {factor}"
                )
        self.multipliers = dict(multipliers)

    def build(self, variables):
        if self.built:
            return
        for pattern in self.multipliers:
            if not any(re.search(pattern, variable.path) for variable in variables):
                raise ValueError(
                    "`multipliers` must have patterns that are found in the path of a weight. "
                    f"Received: {pattern!r}, and paths such as {variables[0].path!r}"
                )
        super().build(variables)

    def factor(self, path):
        """The factor of a weight of that path."""
        return math.prod(f for p, f in self.multipliers.items() if re.search(p, path))

    def step(self, gradients, variables):
        scaled = [v for v in variables if self.factor(v.path) != 1]
        # copies: a variable's value may follow it
        before = [ops.cast(v, computation_dtype(v)) + 0 for v in scaled]
        super().step(gradients, variables)
        for variable, old in zip(scaled, before, strict=True):
            new = ops.cast(variable, old.dtype)
            new = old + self.factor(variable.path) * (new - old)
            variable.assign(ops.cast(new, variable.dtype))

    def get_config(self):
        return {**super().get_config(), "multipliers": self.multipliers}
