"""A layer whose own methods are losses and metrics of the model it is in."""

import secrets
import weakref

import keras

_LAYERS = weakref.WeakValueDictionary()


class LayerWithLoss(keras.layers.Layer):
    """A layer whose own methods are losses and metrics of the model it is in.

    A `LayerFunction` makes such a method a function that a compiled model can save: the file names
    the layer's `key`, by which the reloaded loss finds the reloaded layer.

    Args:
        key: identity of the layer in a saved model; None: a new one.
    """

    def __init__(self, key=None, **kwargs):
        super().__init__(**kwargs)
        self.key = key or secrets.token_hex(8)
        _LAYERS[self.key] = self

    def get_config(self):
        return {**super().get_config(), "key": self.key}

    @staticmethod
    def of_key(key):
        """The layer last made with this key.

        Raises:
            ValueError: there is none.
        """
        if key not in _LAYERS:
            raise ValueError(f"`key` must be that of a layer of the model. Received: {key!r}")
        return _LAYERS[key]
