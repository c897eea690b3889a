"""A bias of its own, as the output layer of a masked language model has."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="kexue_keras")
class BiasAdd(layers.Layer):
    """Adds a learned bias to the last axis; with `only`, a list of int, these entries of it.

    Input and output shape: `(..., features)`, or `(..., len(only))`.

    Masking: passes a mask through.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> np.asarray(layers.BiasAdd()(np.ones((1, 2)))).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")

    bert4keras_class = "ScaleOffset"
    bert4keras_aliases = {"bias": "beta"}  # the name in older versions

    def bert4keras_weights(self):
        """bert4keras's name and this layer's variable."""
        return [("beta", self.bias)]

    def call(self, inputs, only=None):
        return inputs + (self.bias if only is None else ops.take(self.bias, only, axis=0))

    def compute_output_spec(self, inputs, only=None):
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
