"""The vector of [CLS]."""

import keras
from keras import layers


@keras.saving.register_keras_serializable(package="kexue_keras")
class FirstToken(layers.Layer):
    """Picks the first vector of every sequence, BERT's [CLS].

    Input shape: `(batch, length, features)`. Output shape: `(batch, features)`.

    Masking: drops the mask.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> tuple(layers.FirstToken()(np.zeros((2, 3, 4))).shape)
    (2, 4)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return inputs[:, 0]

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *input_shape[2:])
