"""AdaFactor: the second moments of a matrix by those of its rows and columns."""

import re

import keras
from keras import ops

from kexue_keras.optimizers.gradients import add_slot, computation_dtype, dense


# Keras has an `Adafactor`, and it is not the base. Its slot `velocity` has the size of the weight
# (it saves no memory), it always factors the last two axes, however small, never has momentum, and
# always scales by the weight and by `1 / sqrt(t)`. Nothing of it would remain.
@keras.saving.register_keras_serializable(package="kexue_keras")
class AdaFactor(keras.optimizers.Optimizer):
    r"""Adam without its memory: of a matrix `(n, m)` it keeps n + m numbers in place of 2 n m.

    With gradient $g$, its square $c = g^2 + \varepsilon_1$ and
    $\beta_{2,t} = 1 - t^{-0.8}$ at step $t = 1, 2, \ldots$, a weight $\theta$ is updated by

    - $r \leftarrow \beta_{2,t}\, r + (1 - \beta_{2,t})\,\mathrm{mean}_j\, c_{ij}$ and $s$ likewise
      with $\mathrm{mean}_i\, c_{ij}$, then $v_{ij} = r_i s_j / \mathrm{mean}(r)$: of all matrices
      of rank 1 the nearest one by the generalized Kullback-Leibler divergence;
    - $u = g / \sqrt{v}$, and $u \leftarrow u / \max(1, \mathrm{RMS}(u) / d)$ with the clipping
      threshold $d$;
    - with `beta1`, $m \leftarrow \beta_1 m + (1 - \beta_1) u$ takes the place of $u$;
    - $\theta \leftarrow \theta - \alpha_t \max(\varepsilon_2, \mathrm{RMS}(\theta))\, u$.

    Weights with fewer than two axes, or whose second largest axis is shorter than
    `min_dim_size_to_factor`, have a $v$ of their own size, $v \leftarrow \beta_{2,t}\, v +
    (1 - \beta_{2,t})\, c$. Of weights with more axes the two largest are factored (of equally long
    ones the last), for each index of the others separately. All is computed and kept in float32
    for half-precision weights, too. The update does not depend on the scale of the gradient.

    The learning rate is relative to the size of the weight, so that 1e-3 suits fine-tuning as well
    as training from scratch. The article finds that it wants large batches.

    bert4keras's class has the same names and defaults. It differs in three points: it adds
    $\varepsilon_1$ to $v$ a second time, so that a weight whose gradients are below about 1e-15
    moves less; without a learning rate it divides the relative step by 20 if
    `multiply_by_parameter_scale` is off; and of more than two equally long axes it may factor
    others.

    Args:
        learning_rate: float, schedule or callable; None for the relative step
            $\alpha_t = \min(0.01, 1 / \sqrt t)$.
        beta1: decay of the momentum, from 0 to below 1. 0 keeps none, else as many numbers as the
            weights have.
        beta2: decay of the second moments, from 0 to below 1; None for $1 - t^{-0.8}$.
        epsilon1: what is added to the squared gradient.
        epsilon2: smallest scale of a weight, by which one that starts at zero moves.
        multiply_by_parameter_scale: whether the step is relative to the weight's RMS.
        clipping_threshold: largest RMS of an update, before the scale; None: no clipping.
        min_dim_size_to_factor: the second largest axis must be as long for a weight to be factored.
        exclude_from_parameter_scale: list of patterns (regular expressions); weights in whose path,
            such as `"dense/bias"`, one is found are updated without the scale.
        **kwargs: those of `keras.optimizers.Optimizer`: `weight_decay`, `clipnorm`, `use_ema`,
            `gradient_accumulation_steps`, `name`, ...

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras.optimizers import AdaFactor
    >>> kernel = keras.Variable(np.ones((300, 200), "float32"))
    >>> optimizer = AdaFactor(1e-3)
    >>> optimizer.apply([keras.ops.ones((300, 200))], [kernel])
    >>> sorted(tuple(v.shape) for v in optimizer.variables if len(v.shape))
    [(1, 200), (300, 1)]

    Reference: https://kexue.fm/archives/7302; Shazeer and Stern 2018,
    https://arxiv.org/abs/1804.04235
    """

    def __init__(
        self,
        learning_rate=1e-3,
        beta1=0.0,
        beta2=None,
        epsilon1=1e-30,
        epsilon2=1e-3,
        multiply_by_parameter_scale=True,
        clipping_threshold=1.0,
        min_dim_size_to_factor=128,
        exclude_from_parameter_scale=None,
        **kwargs,
    ):
        for name, value in (("beta1", beta1), ("beta2", 0 if beta2 is None else beta2)):
            if not 0 <= value < 1:
                raise ValueError(f"`{name}` must be from 0 to below 1. Received: {value}")
        for name, value in (("epsilon1", epsilon1), ("epsilon2", epsilon2)):
            if not value >= 0:
                raise ValueError(f"`{name}` must be at least 0. Received: {value}")
        if clipping_threshold is not None and not clipping_threshold > 0:
            raise ValueError(
                f"`clipping_threshold` must be above 0 or None. Received: {clipping_threshold}"
            )
        if not min_dim_size_to_factor >= 1:
            raise ValueError(
                f"`min_dim_size_to_factor` must be at least 1. Received: {min_dim_size_to_factor}"
            )
        patterns = exclude_from_parameter_scale
        if isinstance(patterns, str):
            raise ValueError(
                f"`exclude_from_parameter_scale` must be a list of patterns. Received: {patterns!r}"
            )
        relative = learning_rate is None
        super().__init__(self.relative_step if relative else learning_rate, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon1 = epsilon1
        self.epsilon2 = epsilon2
        self.multiply_by_parameter_scale = multiply_by_parameter_scale
        self.clipping_threshold = clipping_threshold
        self.min_dim_size_to_factor = min_dim_size_to_factor
        self.exclude_from_parameter_scale = list(patterns or [])

    def relative_step(self):
        """The learning rate where none was given: `min(0.01, 1 / sqrt(t))`, float32."""
        return ops.minimum(1e-2, 1 / ops.sqrt(ops.cast(self.iterations + 1, "float32")))

    def factored_axes(self, shape):
        """The two axes of a weight that are factored, in ascending order; None if none are.

        Args:
            shape: of the weight.
        """
        if len(shape) < 2:
            return None
        axes = sorted(range(len(shape)), key=lambda axis: (shape[axis], axis))[-2:]
        return None if shape[axes[0]] < self.min_dim_size_to_factor else tuple(sorted(axes))

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        # of every weight: the moments of rows and columns or of all, and the momentum
        self._moments, self._momentums, self._scaled = [], [], []
        for variable in variables:
            patterns = self.exclude_from_parameter_scale
            excluded = any(re.search(pattern, variable.path) for pattern in patterns)
            self._scaled.append(self.multiply_by_parameter_scale and not excluded)
            moments, momentum = (), None
            if not self._overwrite_variable_with_gradient(variable):
                moments = tuple(self._add_moments(variable))
                if self.beta1:
                    momentum = add_slot(self, variable, "momentum")
            self._moments.append(moments)
            self._momentums.append(momentum)

    def _add_moments(self, variable):
        axes = self.factored_axes(variable.shape)
        if axes is None:
            yield add_slot(self, variable, "velocity")
            return
        for name, axis in zip(("velocity_rows", "velocity_columns"), axes[::-1], strict=True):
            shape = tuple(1 if i == axis else size for i, size in enumerate(variable.shape))
            name = f"{variable.path.replace('/', '_')}_{name}"
            yield self.add_variable(shape, dtype=computation_dtype(variable), name=name)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        dtype = computation_dtype(variable)
        gradient, weight = dense(gradient, variable), ops.cast(variable, dtype)
        update = self._over_root_of_moments(gradient, self._moments[index])
        if self.clipping_threshold is not None:
            update = update / ops.maximum(1.0, rms(update) / self.clipping_threshold)
        if self.beta1:
            momentum = self._momentums[index]
            update = self.beta1 * ops.convert_to_tensor(momentum) + (1 - self.beta1) * update
            self.assign(momentum, update)
        if self._scaled[index]:
            update = update * ops.maximum(rms(weight), self.epsilon2)
        weight = weight - ops.cast(learning_rate, dtype) * update
        self.assign(variable, ops.cast(weight, variable.dtype))

    def _over_root_of_moments(self, gradient, moments):
        """Gradient by the root of its second moments, which are updated first."""
        step = ops.cast(self.iterations + 1, gradient.dtype)
        beta2 = 1 - step**-0.8 if self.beta2 is None else self.beta2
        squares = ops.square(gradient) + self.epsilon1

        def averaged(slot, value):
            value = beta2 * ops.convert_to_tensor(slot) + (1 - beta2) * value
            self.assign(slot, value)
            return value

        if len(moments) == 1:
            return gradient / ops.sqrt(averaged(moments[0], squares))
        first, last = self.factored_axes(gradient.shape)
        rows = averaged(moments[0], ops.mean(squares, last, keepdims=True))
        columns = averaged(moments[1], ops.mean(squares, first, keepdims=True))
        # one factor after the other: their product may be below float32's smallest number
        rows = rows / ops.mean(rows, first, keepdims=True)
        return gradient / ops.sqrt(rows) / ops.sqrt(columns)

    def get_config(self):
        config = super().get_config()
        if getattr(self._learning_rate, "__func__", None) is AdaFactor.relative_step:
            config["learning_rate"] = None
        return {
            **config,
            "beta1": self.beta1,
            "beta2": self.beta2,
            "epsilon1": self.epsilon1,
            "epsilon2": self.epsilon2,
            "multiply_by_parameter_scale": self.multiply_by_parameter_scale,
            "clipping_threshold": self.clipping_threshold,
            "min_dim_size_to_factor": self.min_dim_size_to_factor,
            "exclude_from_parameter_scale": self.exclude_from_parameter_scale,
        }


def rms(x):
    """Root of the mean of squares of all elements.

    Example:

    >>> from kexue_keras.optimizers.adafactor import rms
    >>> round(float(rms([3.0, 4.0])), 4)
    3.5355
    """
    return ops.sqrt(ops.mean(ops.square(x)))
