"""A sum that keeps the mask."""

import keras
from keras import layers


@keras.saving.register_keras_serializable(package="kexue_keras")
class MaskedAdd(layers.Add):
    """Sum of tensors of the same shape.

    Masking: passes the mask of the first one through. (`keras.layers.Add` drops it if another one
    has none, as embedded segments.)

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> np.asarray(layers.MaskedAdd()([np.ones(2), np.ones(2)])).tolist()
    [2.0, 2.0]
    """

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else mask[0]
