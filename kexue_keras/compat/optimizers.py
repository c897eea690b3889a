"""bert4keras.optimizers: its Adam and its `extend_with_...`, as classes of Keras optimizers.

An extension changes what an update makes of a weight, the inner one first, as in bert4keras.
Patterns are searched in the path of a weight, such as "Embedding-Norm/gamma".
"""

import inspect
import re
from functools import partial

import keras
from keras import ops

from kexue_keras.compat.elsewhere import refuse
from kexue_keras.optimizers import AdaFactor, PiecewiseLinear
from kexue_keras.optimizers.gradients import dense

__all__ = [
    "AdaFactor",
    "Adam",
    "Lion",
    "extend_with_exponential_moving_average",
    "extend_with_gradient_accumulation",
    "extend_with_layer_adaptation",
    "extend_with_lazy_optimization",
    "extend_with_lookahead",
    "extend_with_parameter_wise_lr",
    "extend_with_piecewise_linear_lr",
    "extend_with_weight_decay",
]

_registered = keras.saving.register_keras_serializable(package="kexue_keras.compat")


def __getattr__(name):
    refuse("optimizers", name)


@_registered
class Adam(keras.optimizers.Adam):
    """Keras's Adam, where epsilon is added after the correction of bias, which can be left out."""

    def __init__(
        self,
        learning_rate=0.001,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        bias_correction=True,
        **kwargs,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)
        self.bias_correction = bias_correction

    def update_step(self, gradient, variable, learning_rate):
        step = ops.cast(self.iterations + 1, variable.dtype)
        first = 1 - ops.power(ops.cast(self.beta_1, variable.dtype), step)
        second = ops.sqrt(1 - ops.power(ops.cast(self.beta_2, variable.dtype), step))
        epsilon = self.epsilon
        if self.bias_correction:
            self.epsilon = epsilon * second
        else:  # which Keras's update then undoes
            learning_rate = ops.cast(learning_rate, variable.dtype) * first / second
        try:
            super().update_step(gradient, variable, learning_rate)
        finally:
            self.epsilon = epsilon

    def get_config(self):
        return {**super().get_config(), "bias_correction": self.bias_correction}


@_registered
class Lion(keras.optimizers.Lion):
    """Keras's Lion with bert4keras's defaults."""

    def __init__(self, learning_rate=3e-4, beta_1=0.95, beta_2=0.98, **kwargs):
        super().__init__(learning_rate, beta_1, beta_2, **kwargs)


def _extension(**defaults):
    """Decorator: a function of a class to a subclass becomes an extension with more arguments.

    The subclass may have `options(own, args, kwargs)`, a function of the new arguments and of all
    others that returns those which the extended class gets, and `plain(config)`, the config from
    which the class makes the same again.
    """

    def decorate(subclass_of):
        def extend(BaseOptimizer, name=None):
            extended = subclass_of(BaseOptimizer)

            options, plain = (vars(extended).get(key) for key in ("options", "plain"))

            def __init__(self, *args, **kwargs):
                own = {key: kwargs.pop(key, value) for key, value in defaults.items()}
                if options is not None:
                    args, kwargs = options(own, args, kwargs)
                super(extended, self).__init__(*args, **kwargs)
                for key, value in own.items():
                    setattr(self, _ATTRIBUTES.get(key, key), value)

            def get_config(self):
                config = super(extended, self).get_config()
                config |= {key: getattr(self, _ATTRIBUTES.get(key, key)) for key in defaults}
                return config if plain is None else plain(self, config)

            extended.__init__ = __init__
            extended.get_config = get_config
            extended.__name__ = extended.__qualname__ = name or (
                f"{BaseOptimizer.__name__}{subclass_of.__name__.removeprefix('extend_with')}"
            )
            return _registered(extended)

        extend.__name__, extend.__doc__ = subclass_of.__name__, subclass_of.__doc__
        return extend

    return decorate


# Keras has a method of this name
_ATTRIBUTES = {"exclude_from_weight_decay": "without_weight_decay"}


def _changed(optimizer, update, variable, change, chosen):
    """Updates the weight, which is then `change(before, after)` if it is chosen."""
    if not chosen:
        update()
        return
    before = ops.convert_to_tensor(variable) + 0  # a copy: the value may follow the variable
    update()
    optimizer.assign(variable, change(before, ops.convert_to_tensor(variable)))


def _found(patterns, variables):
    return [any(re.search(pattern, v.path) for pattern in patterns) for v in variables]


@_extension(weight_decay_rate=0.01, exclude_from_weight_decay=())
def extend_with_weight_decay(BaseOptimizer):
    """Takes `weight_decay_rate` times the learning rate of a weight from it."""

    class Extended(BaseOptimizer):
        def build(self, variables):
            super().build(variables)
            self.decayed = [not x for x in _found(self.without_weight_decay, variables)]

        def update_step(self, gradient, variable, learning_rate):
            rate = ops.cast(learning_rate, variable.dtype) * self.weight_decay_rate
            update = partial(super().update_step, gradient, variable, learning_rate)
            chosen = self.decayed[self._get_variable_index(variable)]
            _changed(self, update, variable, lambda x, y: y - rate * x, chosen)

    return Extended


@_extension(exclude_from_layer_adaptation=())
def extend_with_layer_adaptation(BaseOptimizer):
    """LAMB: gives an update the norm of its weight.

    `keras.optimizers.Lamb` decays weights outside of that norm, and excludes none.
    """

    class Extended(BaseOptimizer):
        def build(self, variables):
            super().build(variables)
            excluded = _found(self.exclude_from_layer_adaptation, variables)
            self.adapted = [not x for x in excluded]

        def update_step(self, gradient, variable, learning_rate):
            rate = ops.maximum(ops.cast(learning_rate, variable.dtype), keras.config.epsilon())

            def change(before, after):
                step = after - before
                norms = [ops.sqrt(ops.sum(ops.square(x))) for x in (before, step / rate)]
                usable = ops.logical_and(norms[0] > 0, norms[1] > 0)
                ratio = norms[0] / ops.where(usable, norms[1], 1.0)
                return before + step * ops.where(usable, ratio, 1.0)

            update = partial(super().update_step, gradient, variable, learning_rate)
            chosen = self.adapted[self._get_variable_index(variable)]
            _changed(self, update, variable, change, chosen)

    return Extended


@_extension(lr_schedule={0: 1})
def extend_with_piecewise_linear_lr(BaseOptimizer):
    """A learning rate that is multiplied by `kexue_keras.optimizers.PiecewiseLinear`."""

    class Extended(BaseOptimizer):
        def options(own, args, kwargs):
            rate = args[0] if args else kwargs.get("learning_rate")
            own["rate"] = _default_rate(BaseOptimizer) if rate is None else rate
            # as JSON will have them
            own["lr_schedule"] = {str(step): x for step, x in own["lr_schedule"].items()}
            schedule = PiecewiseLinear(own["rate"], own["lr_schedule"])
            return args[1:], {**kwargs, "learning_rate": schedule}

        def plain(self, config):
            return {**config, "learning_rate": self.rate}

    return Extended


def _default_rate(optimizer):
    for cls in optimizer.__mro__:
        rate = inspect.signature(cls.__init__).parameters.get("learning_rate")
        if rate is not None and rate.default is not inspect.Parameter.empty:
            return rate.default
    raise ValueError(f"`learning_rate` must be given to {optimizer.__name__}. Received: none")


@_extension(grad_accum_steps=2)
def extend_with_gradient_accumulation(BaseOptimizer):
    """Keras's `gradient_accumulation_steps`: an update at each k-th step, by the mean gradient."""

    class Extended(BaseOptimizer):
        def options(own, args, kwargs):
            steps = own["grad_accum_steps"] if own["grad_accum_steps"] > 1 else None
            return args, {**kwargs, "gradient_accumulation_steps": steps}

        def plain(self, config):
            return {k: v for k, v in config.items() if k != "gradient_accumulation_steps"}

    return Extended


@_extension(steps_per_slow_update=5, slow_step_size=0.5)
def extend_with_lookahead(BaseOptimizer):
    """Slow weights go part of the way to the weights every few steps, which then go on from them.

    They begin at the weights; in bert4keras they begin at zero. https://arxiv.org/abs/1907.08610
    """

    class Extended(BaseOptimizer):
        def build(self, variables):
            super().build(variables)
            self.slow = []
            for variable in variables:
                slow = self.add_variable_from_reference(variable, name="slow")
                slow.assign(variable)
                self.slow.append(slow)

        def update_step(self, gradient, variable, learning_rate):
            slow = self.slow[self._get_variable_index(variable)]
            now = ops.equal((self.iterations + 1) % self.steps_per_slow_update, 0)
            super().update_step(gradient, variable, learning_rate)
            fast, past = ops.convert_to_tensor(variable) + 0, ops.convert_to_tensor(slow) + 0
            met = past + self.slow_step_size * (fast - past)
            self.assign(slow, ops.where(now, met, past))
            self.assign(variable, ops.where(now, met, fast))

    return Extended


@_extension(include_in_lazy_optimization=())
def extend_with_lazy_optimization(BaseOptimizer):
    """Rows of the named weights whose gradient is zero stay as they are."""

    class Extended(BaseOptimizer):
        def build(self, variables):
            super().build(variables)
            self.lazy = _found(self.include_in_lazy_optimization, variables)

        def update_step(self, gradient, variable, learning_rate):
            rows = ops.any(ops.not_equal(dense(gradient, variable), 0), axis=-1, keepdims=True)
            change = lambda before, after: ops.where(rows, after, before)  # noqa: E731
            update = partial(super().update_step, gradient, variable, learning_rate)
            chosen = self.lazy[self._get_variable_index(variable)]
            _changed(self, update, variable, change, chosen)

    return Extended


@_extension(paramwise_lr_schedule={})
def extend_with_parameter_wise_lr(BaseOptimizer):
    """Multiplies the steps of weights; the factor is the product over all keys in their path.

    See `kexue_keras.optimizers.LearningRateMultipliers`.
    """

    class Extended(BaseOptimizer):
        def build(self, variables):
            super().build(variables)
            self.factors = []
            for variable in variables:
                factor = 1.0
                for key, value in self.paramwise_lr_schedule.items():
                    factor *= value if key in variable.path else 1.0
                self.factors.append(factor)
            self.multiplied = [factor != 1 for factor in self.factors]

        def update_step(self, gradient, variable, learning_rate):
            factor = self.factors[self._get_variable_index(variable)]
            change = lambda before, after: before + factor * (after - before)  # noqa: E731
            update = partial(super().update_step, gradient, variable, learning_rate)
            chosen = self.multiplied[self._get_variable_index(variable)]
            _changed(self, update, variable, change, chosen)

    return Extended


@_extension(ema_momentum=0.999)
def extend_with_exponential_moving_average(BaseOptimizer):
    """Keras's `use_ema`, with averages put into the weights and taken out again when asked.

    The average begins at the weights after the first step, so that no bias has to be corrected.
    """

    class Extended(BaseOptimizer):
        def options(own, args, kwargs):
            return args, {**kwargs, "use_ema": True, "ema_momentum": own["ema_momentum"]}

        def plain(self, config):
            return {k: v for k, v in config.items() if k != "use_ema"}

        def finalize_variable_values(self, variables):
            """Leaves the weights as they are, where Keras puts the averages at the end of `fit`."""

        def apply_ema_weights(self, bias_correction=True):
            """Puts the averages into the weights; `reset_old_weights` undoes it."""
            variables, averages = self._trainable_variables, self._model_variables_moving_average
            self.old_weights = [ops.convert_to_numpy(v) for v in variables]
            for variable, average in zip(variables, averages, strict=True):
                variable.assign(average)

        def reset_old_weights(self):
            """Puts the weights back."""
            for variable, value in zip(self._trainable_variables, self.old_weights, strict=True):
                variable.assign(value)

    return Extended
