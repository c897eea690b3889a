"""Exponentiated gradient: steps that multiply, for weights that are positive or sum to one."""

import math
import warnings

import keras
from keras import ops

from kexue_keras.optimizers.gradients import computation_dtype, dense

# the smallest and largest numbers that a weight may reach, by its dtype
_RANGES = {"float16": (6.2e-5, 6.5e4)}
_RANGE = (1.2e-38, 3e38)


@keras.saving.register_keras_serializable(package="kexue_keras")
class ExponentiatedGradient(keras.optimizers.Optimizer):
    r"""Gradient descent by factors: $\theta \leftarrow \theta \exp(-\eta g)$.

    It is gradient descent where the distance is the Kullback-Leibler divergence in place of the
    Euclidean one. A weight keeps its sign and never reaches zero, so no constraint such as
    `keras.constraints.NonNeg` is needed for weights that must be positive (step sizes, prices,
    mixture weights). Weights that are zero stay zero; a bias that begins there, as Keras's do, is
    warned of and needs another initializer.

    With `simplex` the weights are afterwards divided by their sum along that axis (multiplicative
    weights, or Hedge): each vector stays a distribution. This is computed from logarithms, so that
    no gradient is too large. Adding a constant to the gradients of a vector changes nothing then.

    Weights of a model that need different treatment (a softmax-free mixture among ordinary layers)
    want an optimizer each. `weight_decay` shrinks weights by factors, too, and does nothing on the
    simplex; a constraint of a layer is applied after each update, so on the simplex it should have
    none.

    Args:
        learning_rate: $\eta$; float, schedule or callable.
        simplex: axis along which weights sum to one, or None.
        **kwargs: those of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: `simplex` is no axis of a weight; or, with `simplex`, a weight is not positive
            everywhere. That is looked at when the optimizer is built, with the values that the
            layer's initializer gave even if others are loaded from a file afterwards; and not if
            it is built inside a compiled function, where values are not known.

    Example:

    >>> import keras
    >>> from kexue_keras.optimizers import ExponentiatedGradient
    >>> p = keras.Variable([0.5, 0.25, 0.25])
    >>> optimizer = ExponentiatedGradient(1.0, simplex=-1)
    >>> optimizer.apply([keras.ops.log([1.0, 1.0, 2.0])], [p])
    >>> [round(float(x), 4) for x in keras.ops.convert_to_numpy(p)]
    [0.5714, 0.2857, 0.1429]

    Reference: https://kexue.fm/archives/8968; Kivinen and Warmuth 1997,
    https://doi.org/10.1006/inco.1996.2612
    """

    def __init__(self, learning_rate, simplex=None, **kwargs):
        if not (simplex is None or isinstance(simplex, int)) or isinstance(simplex, bool):
            raise ValueError(f"`simplex` must be an axis or None. Received: {simplex!r}")
        super().__init__(learning_rate, **kwargs)
        self.simplex = simplex

    def build(self, variables):
        if self.built:
            return
        for variable in variables:
            if not self._overwrite_variable_with_gradient(variable):
                self._check(variable)
        super().build(variables)

    def _check(self, variable):
        rank, axis = len(variable.shape), self.simplex
        if axis is not None and not -rank <= axis < rank:
            raise ValueError(
                f"`simplex` must be an axis of every weight. Received: {axis}, "
                f"for {variable.path!r} of shape {tuple(variable.shape)}"
            )
        try:
            value = ops.convert_to_numpy(variable)
        except (NotImplementedError, TypeError):  # inside a compiled function there is no value
            return
        if axis is not None and not (value > 0).all():
            raise ValueError(
                "Weights on the simplex must be positive at the start; give the layer an "
                f"initializer such as 'ones'. Received: {variable.path!r} with {value.min()}"
            )
        if not value.any():
            # no error: a model file may hold other values, which are loaded after this
            warnings.warn(
                "A weight that is zero everywhere never moves by exponentiated gradient; give the "
                f"layer another initializer or freeze it. Received: {variable.path!r}",
                stacklevel=3,
            )

    def update_step(self, gradient, variable, learning_rate):
        dtype = computation_dtype(variable)
        weight = ops.cast(variable, dtype)
        smallest, largest = _RANGES.get(keras.backend.standardize_dtype(variable.dtype), _RANGE)
        exponent = -ops.cast(learning_rate, dtype) * dense(gradient, variable)
        exponent = ops.clip(exponent, -_RANGE[1], _RANGE[1])
        logarithm = ops.log(ops.maximum(ops.abs(weight), smallest))
        if self.simplex is None:
            # so that the product neither vanishes nor overflows
            lowest, highest = math.log(smallest) - logarithm, math.log(largest) - logarithm
            exponent = ops.clip(exponent, lowest, highest)
            root = ops.exp(exponent / 2)  # whose square may be too large alone
            weight = weight * root * root
        else:
            weight = ops.softmax(logarithm + exponent, axis=self.simplex)
            weight = ops.maximum(weight, smallest)
        self.assign(variable, ops.cast(weight, variable.dtype))

    def get_config(self):
        return {**super().get_config(), "simplex": self.simplex}
