"""Contexts in which variables have other values, and after which they are what they were."""

import contextlib

import keras
from keras import ops
from keras.src.backend.common.stateless_scope import get_stateless_scope, in_stateless_scope


class RecordingScope(keras.StatelessScope):
    """A stateless scope that starts from the values of the scope around it and remembers which
    variables were assigned inside."""

    def __init__(self):
        super().__init__(collect_losses=True)
        self.assigned = {}
        if in_stateless_scope():
            self.state_mapping.update(get_stateless_scope().state_mapping)

    def add_update(self, update):
        variable, _ = update
        self.assigned[id(variable)] = variable
        super().add_update(update)

    def get_current_value(self, variable):
        # Keras asks the scope alone for the weights that have a regularizer
        value = super().get_current_value(variable)
        return variable._value if value is None else value


@contextlib.contextmanager
def undone(start=()):
    """A context that leaves no trace: what is assigned inside has its old value afterwards.

    Args:
        start: pairs of a variable and the value that it has at first inside.

    >>> w = keras.Variable(1.0)
    >>> with undone([(w, 2.0)]):
    ...     inside = float(w.assign_add(3.0))
    >>> inside, float(w)
    (5.0, 1.0)
    """
    with RecordingScope() as scope:
        for variable, value in start:
            value = ops.convert_to_tensor(value, dtype=variable.dtype)
            scope.state_mapping[id(variable)] = value
        yield


def random_state(model):
    """What the random generators of a model (dropout) go on from: pairs for `undone`, so that
    another pass draws the same."""
    seeds = [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]
    # on TensorFlow a value follows its variable: read it now
    return [(v, ops.copy(v.value)) for v in seeds]


@contextlib.contextmanager
def replaced(variable, value):
    """A context in which `variable` has another value. The variable itself is never written, so
    that an error inside cannot leave it changed. What is assigned to others inside stays.

    >>> w, counter = keras.Variable(1.0), keras.Variable(0.0)
    >>> with replaced(w, w + 1.0):
    ...     _ = counter.assign(w * 3.0)
    >>> float(w), float(counter)
    (1.0, 6.0)
    """
    with RecordingScope() as scope:
        scope.state_mapping[id(variable)] = ops.convert_to_tensor(value, dtype=variable.dtype)
        yield
    for key, other in scope.assigned.items():
        if other is not variable:
            other.assign(scope.state_mapping[key])
