"""Predictions in place of embeddings: what a decoder sees of itself."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="kexue_keras")
class PreviousStates(layers.Layer):
    """Replaces embeddings by the states one place before them.

    The first place has none before it and keeps its embedding.

    Input: a list of embeddings, float `(batch, length, size)`; states of the same shape; and
    perhaps segment ids, int `(batch, length)`: where they are 0 the embedding stays.

    Output: float `(batch, length, size)`.

    Masking: passes the mask of the embeddings through.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> embeddings, states = np.zeros((1, 3, 1)), np.array([[[1.0], [2.0], [3.0]]])
    >>> np.asarray(layers.PreviousStates()([embeddings, states])).ravel().tolist()
    [0.0, 1.0, 2.0]

    Reference: TeaForN, https://kexue.fm/archives/7818
    """

    def call(self, inputs):
        embeddings, states, *segments = inputs
        shifted = ops.concatenate([embeddings[:, :1], states[:, :-1]], axis=1)
        return ops.where(segments[0][..., None] > 0, shifted, embeddings) if segments else shifted

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else mask[0]

    def compute_output_shape(self, input_shape):
        return input_shape[0]
