"""The variables of a layer as bert4keras orders them, the order of all tables of names."""

import keras

from kexue_keras import backend


def weights_of(layer):
    """Names and variables of a layer, in bert4keras's order.

    A layer of ours says so by `bert4keras_weights`; of others it is Keras's order.

    Args:
        layer: a built Keras layer.

    Returns:
        List of `(name, variable)`; the name has slashes where the variable is in an inner layer.

    Example:

    >>> import keras
    >>> dense = keras.layers.Dense(1)
    >>> dense.build((None, 2))
    >>> [name for name, _ in weights_of(dense)]
    ['kernel', 'bias']
    """
    if hasattr(layer, "bert4keras_weights"):
        return layer.bert4keras_weights()
    return [(variable.name, variable) for variable in layer.weights]


def to_float32(variable):
    """The value of a variable, a float32 array."""
    return keras.ops.convert_to_numpy(keras.ops.cast(variable.value, "float32"))


def refuse_lora(model):
    """Raises a ValueError if a layer keeps what it learned beside its kernel."""
    for layer in backend.layers_of(model):
        if getattr(layer, "lora_enabled", False):
            raise ValueError(
                f"`model` must not have LoRA; merge it into the kernels first. Received: "
                f"{layer.path}"
            )
