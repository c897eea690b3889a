"""Learned position embeddings."""

import keras
from keras import initializers, layers, ops


@keras.saving.register_keras_serializable(package="kexue_keras")
class PositionEmbedding(layers.Layer):
    """Adds a learned vector for every position.

    Args:
        input_dim: number of positions.
        output_dim: size of a vector; the last axis of the input.
        embeddings_initializer: initializer of the table.

    Call arguments:
        inputs: floating `(batch, length, output_dim)`, with `length <= input_dim` unless positions
            are given.
        positions: int32 `(batch or 1, length or 1)`; by default 0, 1, 2, ...

    Output shape: `(batch, length, output_dim)`.

    Masking: passes a mask through.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> tuple(layers.PositionEmbedding(8, 4)(np.zeros((2, 5, 4), "float32")).shape)
    (2, 5, 4)
    """

    def __init__(self, input_dim, output_dim, embeddings_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.supports_masking = True

    def build(self, input_shape):
        self.embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            name="embeddings",
        )

    def call(self, inputs, positions=None):
        table = ops.cast(self.embeddings, self.compute_dtype)
        if positions is not None:
            return inputs + self.lookup(positions)
        length = inputs.shape[1]
        if length is not None and length > self.input_dim:
            raise ValueError(
                f"The input of {self.name} may have at most {self.input_dim} positions "
                f"(`input_dim`). Received: {length}"
            )
        return inputs + table[: ops.shape(inputs)[1]]

    def lookup(self, positions):
        """The vectors of the given int positions, `(...) -> (..., output_dim)`."""
        return ops.take(ops.cast(self.embeddings, self.compute_dtype), positions, axis=0)

    def compute_output_spec(self, inputs, positions=None):
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
        }
