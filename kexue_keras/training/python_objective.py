"""Any Python function as an objective or reward of a strategy."""

import keras
from keras import ops, tree

from kexue_keras import backend
from kexue_keras.training.given_function import config_of_function, given_function


@keras.saving.register_keras_serializable(package="kexue_keras")
class PythonObjective:
    """A Python function of NumPy arrays that is called from inside the compiled step.

    It is what `python_objective` makes: a reward of `PolicyGradient`, an objective of
    `GuidedParameterSearch`, or the compiled loss of a model inside `ZerothOrder`. It has no
    gradient: a strategy that would need it, or a plain `fit`, ends with an error. The step waits
    for Python. With JAX it is still one compiled program; XLA on TensorFlow cannot call Python, so
    there a strategy compiles its step without XLA: `jit_compile="auto"` decides so by itself, and
    Keras warns that it takes `jit_compile=True` for False. This does not hold of `metrics=`, which
    on a GPU need `jit_compile=False`.

    Args:
        function: see `python_objective`; or its registered name.
        per_sample: see there.
        name: of the loss.
    """

    def __init__(self, function, per_sample=False, name=None):
        self.function = given_function(function, "function")
        self.per_sample = bool(per_sample)
        own = getattr(self.function, "__name__", "")
        self.name = name or (own if own.isidentifier() else "python_objective")
        self.__name__ = self.name  # by which Keras calls a loss

    def __call__(self, y_true, y_pred):
        structure = (y_true, y_pred)
        tensors = [ops.convert_to_tensor(x) for x in tree.flatten(structure) if x is not None]

        def function(*arrays):
            rest = iter(arrays)
            take = lambda x: None if x is None else next(rest)  # noqa: E731
            return self.function(*tree.map_structure(take, structure))

        shape = tensors[-1].shape[:1] if self.per_sample else ()
        return backend.host_call(function, tensors, tuple(shape), "float32")

    def get_config(self):
        return {
            "function": config_of_function(self.function, "function"),
            "per_sample": self.per_sample,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def python_objective(function, per_sample=False, name=None):
    """Wraps a Python function so that it can be called inside a compiled step.

    Args:
        function: callable of two NumPy arrays, `(y_true, y_pred)`, batch axis first, to a number,
            or to an array `(batch,)` with `per_sample`. Lists and dicts of arrays stay what they
            are. It should depend on its arguments alone. To be saved it must be registered with
            `keras.saving.register_keras_serializable`. As a compiled loss it is given labels as
            floats, as Keras gives them to any loss.
        per_sample: whether it returns a value for every sample, as a reward does.
        name: of the loss; the function's by default.

    Returns:
        A `PythonObjective`, callable with tensors.

    Raises:
        ValueError: `function` is not callable.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import training
    >>> errors = training.python_objective(lambda y, p: np.mean(y != p.argmax(-1)))
    >>> float(errors(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]])))
    0.5
    """
    return PythonObjective(function, per_sample, name)
