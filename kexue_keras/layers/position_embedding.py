"""Learned position embeddings."""

import keras
from keras import initializers, layers, ops

# the two digits of a hierarchical position
_DIGITS = (ops.floor_divide, ops.mod)


@keras.saving.register_keras_serializable(package="kexue_keras")
class PositionEmbedding(layers.Layer):
    """Adds a learned vector for every position.

    Args:
        input_dim: number of positions.
        output_dim: size of a vector; the last axis of the input.
        embeddings_initializer: initializer of the table.
        hierarchical: None; or a share `alpha` from 0 to 1, not 0.5 or 1, by which the n trained
            vectors p make up `n ** 2` of them: with `u_i = (p_i - alpha p_0) / (1 - alpha)`, that
            of position t is `alpha u_(t // n) + (1 - alpha) u_(t % n)`. The first n are p.

    Call arguments:
        inputs: floating `(batch, length, output_dim)`, with `length <= input_dim` (or, if
            hierarchical, its square) unless positions are given.
        positions: int32 `(batch or 1, length or 1)`; by default 0, 1, 2, ...

    Output shape: `(batch, length, output_dim)`.

    Masking: passes a mask through.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> tuple(layers.PositionEmbedding(8, 4)(np.zeros((2, 5, 4), "float32")).shape)
    (2, 5, 4)

    Reference: hierarchical positions: https://kexue.fm/archives/7947
    """

    def __init__(
        self,
        input_dim,
        output_dim,
        embeddings_initializer="zeros",
        hierarchical=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if hierarchical is not None and not (0 < hierarchical < 1 and hierarchical != 0.5):
            raise ValueError(
                "`hierarchical` must be None or between 0 and 1, but not 0.5, where positions t "
                f"n + s and s n + t are the same. Received: {hierarchical}"
            )
        self.hierarchical = hierarchical
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
        if positions is not None:
            return inputs + self.lookup(positions)
        length = inputs.shape[1]
        if length is not None and length > self.longest:
            raise ValueError(
                f"The input of {self.name} may have at most {self.longest} positions "
                f"(`input_dim`). Received: {length}"
            )
        length = ops.shape(inputs)[1]
        if self.hierarchical is not None:
            return inputs + self.lookup(ops.arange(length, dtype="int32"))
        return inputs + ops.cast(self.embeddings, self.compute_dtype)[:length]

    @property
    def longest(self):
        """Number of positions."""
        return self.input_dim if self.hierarchical is None else self.input_dim**2

    def lookup(self, positions):
        """The vectors of the given int positions, `(...) -> (..., output_dim)`."""
        alpha, table = self.hierarchical, ops.cast(self.embeddings, self.compute_dtype)
        if alpha is None:
            return ops.take(table, positions, axis=0)
        # in float32: what is divided by 1 - alpha and multiplied again is to be what it was
        table = ops.cast(self.embeddings, "float32")
        units = (table - alpha * table[:1]) / (1 - alpha)
        high, low = (ops.take(units, f(positions, self.input_dim), axis=0) for f in _DIGITS)
        return ops.cast(alpha * high + (1 - alpha) * low, self.compute_dtype)

    def compute_output_spec(self, inputs, positions=None):
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "hierarchical": self.hierarchical,
        }
