"""The table of NEZHA's distances, as files of weights know it."""

import keras
import numpy as np
from keras import layers

from kexue_keras.layers.positions import distance_table


@keras.saving.register_keras_serializable(package="kexue_keras")
class RelativePositionTable(layers.Layer):
    """Passes its input on, and stands in a model for the fixed table of relative positions.

    `MultiHeadAttention(position="relative")` computes the vectors of distances where it needs them.
    In bert4keras the table is a frozen weight of a layer of its own, and all its files of weights
    hold it. This layer has no Keras weight; by `bert4keras_weights` the table takes its place in
    such files, and one that is read must be the same.

    Args:
        size: features of a vector, the size of a head.
        max_distance: the largest distance.

    Input and output shape: any.

    Masking: passes a mask through.

    Example:

    >>> from kexue_keras.layers.relative_position_table import RelativePositionTable
    >>> ((name, table),) = RelativePositionTable(size=4).bert4keras_weights()
    >>> name, table.shape
    ('embeddings', (129, 4))

    Reference: NEZHA, Wei et al. 2019, https://arxiv.org/abs/1909.00204
    """

    bert4keras_class = "RelativePositionEmbedding"

    def __init__(self, size, max_distance=64, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.max_distance = max_distance
        self.supports_masking = True

    def call(self, inputs):
        return inputs

    def bert4keras_weights(self):
        """bert4keras's name and the table."""
        value = distance_table(self.size, self.max_distance)
        return [("embeddings", _Constant(f"{self.name}/embeddings", value))]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "size": self.size, "max_distance": self.max_distance}


class _Constant:
    """What can be written like a variable, and be read where the values are the same."""

    is_fixed = True

    def __init__(self, path, value):
        self.name = path.split("/")[-1]
        self.path = path
        self.value = value
        self.shape = value.shape

    def assign(self, value):
        error = np.abs(np.asarray(value, "float32") - self.value).max()
        if not error < 1e-3:
            raise ValueError(
                f"`{self.path}` must be the fixed table of sines and cosines. "
                f"Received: values that differ by {error:.3g}"
            )
