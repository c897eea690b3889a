"""T5's bias of attention, a learned number for every range of distances and every head."""

import keras
import numpy as np
from keras import initializers, layers, ops


@keras.saving.register_keras_serializable(package="kexue_keras")
class RelativePositionEmbeddingT5(layers.Layer):
    """What T5 adds to the scores of attention: a number for a head and a range of distances.

    With `n = i - j`, the position of a query less that of a key, `f(n)` of B ranges is n itself
    below `m = B / 2`, and then grows with the logarithm up to the largest distance M,

        f(n) = min(m + floor((B - m) log(n / m) / log(M / m)), B - 1).

    The number of the range is `f(max(n, 0))` of `input_dim` ranges; or, if `bidirectional`,
    `f(|n|)` of half as many, the other half being for keys that come after the query.

    Args:
        input_dim: number of ranges, 32 in T5.
        output_dim: number of heads.
        max_distance: the distance from which on all are of one range.
        bidirectional: whether a query sees keys that come after it, as in an encoder.
        embeddings_initializer: initializer of the table `(input_dim, output_dim)`.

    Call arguments:
        query_positions: int `(batch or 1, queries)`.
        key_positions: int `(batch or 1, keys)`; or what stands there, `(batch, keys, features)`, at
            the positions 0, 1, 2, ...

    Output shape: `(batch or 1, output_dim, queries, keys)`.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> bias = layers.RelativePositionEmbeddingT5(32, 2)
    >>> tuple(bias(np.array([[4, 5]]), np.array([[0, 1, 2]])).shape)
    (1, 2, 2, 3)

    Reference: Raffel et al. 2019, https://arxiv.org/abs/1910.10683; https://kexue.fm/archives/7867
    """

    def __init__(
        self,
        input_dim,
        output_dim,
        max_distance=128,
        bidirectional=True,
        embeddings_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.autocast = False  # half precision would round positions that come as floats
        ranges = input_dim // 2 if bidirectional else input_dim
        if ranges < 2 or (bidirectional and input_dim % 2):
            least = "an even number of at least 4" if bidirectional else "at least 2"
            raise ValueError(f"`input_dim` must be {least}. Received: {input_dim}")
        if max_distance <= ranges // 2:
            raise ValueError(
                f"`max_distance` must be greater than {ranges // 2}. Received: {max_distance}"
            )
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.ranges = ranges

    def build(self, query_positions_shape, key_positions_shape):
        self.embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            name="embeddings",
        )

    def call(self, query_positions, key_positions):
        if len(key_positions.shape) == 3:
            key_positions = ops.expand_dims(ops.arange(ops.shape(key_positions)[1]), 0)
        queries, keys = (ops.cast(x, "int32") for x in (query_positions, key_positions))
        distances = ops.expand_dims(queries, 2) - ops.expand_dims(keys, 1)
        size = ops.abs(distances) if self.bidirectional else ops.maximum(distances, 0)
        table = ops.convert_to_tensor(self._ranges_of_distances())
        places = ops.take(table, ops.minimum(size, self.max_distance), axis=0)
        if self.bidirectional:
            places = places + self.ranges * ops.cast(distances < 0, "int32")
        bias = ops.take(ops.cast(self.embeddings, self.compute_dtype), places, axis=0)
        return ops.transpose(bias, (0, 3, 1, 2))

    def _ranges_of_distances(self):
        """f of the distances 0, 1, ..., `max_distance`, int32."""
        exact = self.ranges // 2
        distances = np.arange(self.max_distance + 1)
        logarithms = np.log(np.maximum(distances, 1) / exact) / np.log(self.max_distance / exact)
        # where the logarithm is a whole number, rounding must not take it below
        far = exact + np.floor(logarithms * (self.ranges - exact) + 1e-9).astype("int64")
        found = np.where(distances < exact, distances, np.minimum(far, self.ranges - 1))
        return found.astype("int32")

    def compute_output_spec(self, query_positions, key_positions):
        (batch, queries), (of_keys, keys) = query_positions.shape, key_positions.shape[:2]
        of_keys = 1 if len(key_positions.shape) == 3 else of_keys
        shape = (of_keys if batch == 1 else batch, self.output_dim, queries, keys)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def bert4keras_weights(self):
        """bert4keras's name and this layer's variable."""
        return [("embeddings", self.embeddings)]

    def get_config(self):
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "max_distance": self.max_distance,
            "bidirectional": self.bidirectional,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
        }
