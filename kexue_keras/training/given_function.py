"""Functions that a strategy is given, and how they are written into its config."""

import keras


def given_function(function, argument):
    """The callable that stands for an argument.

    Args:
        function: a callable, the registered name of one (`"package>name"`), or its config.
        argument: the argument's name, for errors.

    Raises:
        ValueError: it is no callable, or nothing is registered under the name.

    Example:

    >>> given_function(max, "reward") is max
    True
    """
    found = function
    if isinstance(function, str):
        found = keras.saving.get_registered_object(function)
    elif isinstance(function, dict):
        found = keras.saving.deserialize_keras_object(function)
    if not callable(found):
        raise ValueError(
            f"`{argument}` must be a callable, or the name under which one is registered with "
            f"`keras.saving.register_keras_serializable`. Received: {function!r}"
        )
    return found


def config_of_function(function, argument):
    """What is written for a callable: the registered name of a function, the config of an object.

    Raises:
        ValueError: a function that is not registered, or an object without `get_config`. It could
            not be found again.

    Example:

    >>> @keras.saving.register_keras_serializable(package="examples")
    ... def hit(y_true, sampled):
    ...     return y_true == sampled
    >>> config_of_function(hit, "reward")
    'examples>hit'
    """
    if hasattr(function, "__name__"):  # Keras looks for it
        name = keras.saving.get_registered_name(function)
        if keras.saving.get_registered_object(name) is function:
            return name
    if hasattr(function, "get_config") and not isinstance(function, type):
        return keras.saving.serialize_keras_object(function)
    raise ValueError(
        f"`{argument}` must be registered with `keras.saving.register_keras_serializable`, or have "
        f"`get_config`, to be saved. Received: {function!r}"
    )
