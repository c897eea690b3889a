"""A method of a layer as a loss or metric that a compiled model can save."""

import keras

from kexue_keras.layers.layer_with_loss import LayerWithLoss


@keras.saving.register_keras_serializable(package="kexue_keras")
class LayerFunction:
    """A method of a `LayerWithLoss` as a function that a compiled model can save.

    Args:
        key: the layer's.
        method: the name of the method.
        layer: the layer itself; by default the one last made with this key.
    """

    def __init__(self, key, method, layer=None):
        self.layer = LayerWithLoss.of_key(key) if layer is None else layer
        self.method = method
        self.__name__ = method.strip("_")

    def __call__(self, y_true, y_pred):
        return getattr(self.layer, self.method)(y_true, y_pred)

    def get_config(self):
        return {"key": self.layer.key, "method": self.method}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
