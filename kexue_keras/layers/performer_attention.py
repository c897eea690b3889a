"""Performer: attention linear in the length, by positive random features."""

import keras
import numpy as np
from keras import ops

from kexue_keras import backend
from kexue_keras.layers.head_projections import HeadProjections
from kexue_keras.ops import LOWEST

_TINY = 1e-18  # its square is a float32 too


def orthogonal_features(num_features, size, rng, norms="random"):
    """Random directions, `(num_features, size)`: rows of a standard normal matrix, but orthogonal.

    Every block of `size` rows is a uniformly random orthogonal matrix. (The Q of a QR decomposition
    is not uniform; multiplied by the signs of R's diagonal it is.) The norms are those of
    independent normal vectors, or with "quantile" the i-th of m has `P(norm <= r_i) = i / (m + 1)`,
    in random order.
    """
    blocks = []
    for _ in range(-(-num_features // size)):
        q, r = np.linalg.qr(rng.normal(size=(size, size)))
        blocks.append((q * np.sign(np.diag(r))).T)
    directions = np.concatenate(blocks)[:num_features]
    if norms == "quantile":
        lengths = rng.permutation(_chi_quantiles(num_features, size))
    else:
        lengths = np.linalg.norm(rng.normal(size=(num_features, size)), axis=1)
    return (directions * lengths[:, None]).astype("float32")


def _chi_quantiles(count, size):
    """`r_i` with `P(|w| <= r_i) = i / (count + 1)` for normal w, by adding up the density."""
    r = np.linspace(0, np.sqrt(size) + 10, 100_001)[1:]
    density = np.exp((size - 1) * np.log(r) - r**2 / 2 - ((size - 1) * np.log(size) - size) / 2)
    sums = np.cumsum(density) - density / 2
    return np.interp(np.arange(1, count + 1) / (count + 1), sums / np.sum(density), r)


def _pack(total, largest):
    """Sums and the logs of their factors as one array, with one more row of features.

    TensorFlow's `scan` goes through one array only where the length is not known beforehand.
    """
    row = ops.broadcast_to(largest[..., None, None], ops.shape(total[..., :1, :]))
    return ops.concatenate([total, row], axis=-2)


def _unpack(packed):
    return packed[..., :-1, :], packed[..., -1, 0]


@keras.saving.register_keras_serializable(package="kexue_keras")
class PerformerAttention(HeadProjections):
    """Multi-head self-attention whose cost grows linearly with the length.

    `exp(q . k) = E[exp(w . q - |q|^2 / 2) exp(w . k - |k|^2 / 2)]` over normal w, so with
    `num_features` of them the softmax becomes a product of features, and sums over keys can be
    taken before the queries are known. All weights are positive and sum to 1. A causal layer goes
    by chunks: a masked product inside a chunk, a prefix sum for what comes before it, so that
    memory grows linearly too. Computed in float32. A query that sees no key gets 0; so does, in a
    causal layer with scores beyond some hundreds, one whose weights are too small for float32.

    It pays off for long sequences only (thousands of tokens), and an additive mask between single
    pairs, as a UniLM's, is impossible.

    Args:
        heads: number of heads.
        head_size: size of a head; None means the last axis of the input divided by `heads`.
        num_features: m, the number of random features of every head; the error falls as its root.
        causal: whether a query only sees keys up to its own position.
        seed: of the features, which are saved with the weights. None draws another one every time.
        output_size: size of the output; None means the last axis of the input.
        use_bias: whether the four projections have a bias.
        chunk: length of the chunks of a causal layer.
        kernel_initializer: initializer of the four kernels.
        norms: of the random directions, "random" (the norms of independent normal vectors, which
            make the estimate of exp(q . k) unbiased) or "quantile" (spread evenly over their
            distribution, as the article suggests; a little less spread, a small bias).

    Call arguments:
        inputs: floating `(batch, length, features)`.
        attention_mask: bool `(batch, 1, length)`, in place of the Keras mask; hides keys.

    Output shape: `(batch, length, output_size)`.

    Masking: a Keras mask hides keys and passes through.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> attention = layers.PerformerAttention(heads=2, num_features=16, seed=0)
    >>> attention(np.ones((3, 5, 8), "float32")).shape[1:] == (5, 8)
    True

    Reference: https://kexue.fm/archives/7921; Choromanski et al. 2020,
    https://arxiv.org/abs/2009.14794
    """

    def __init__(
        self,
        heads,
        head_size=None,
        num_features=256,
        causal=False,
        seed=None,
        output_size=None,
        use_bias=True,
        chunk=256,
        kernel_initializer="glorot_uniform",
        norms="random",
        **kwargs,
    ):
        super().__init__(heads, head_size, output_size, use_bias, kernel_initializer, **kwargs)
        for name, value in (("num_features", num_features), ("chunk", chunk)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {value}")
        if norms not in ("random", "quantile"):
            raise ValueError(f'`norms` must be "random" or "quantile". Received: {norms}')
        self.supports_jit = not causal or backend.loops_train_with_xla()
        self.num_features = num_features
        self.causal = causal
        self.seed = seed
        self.chunk = chunk
        self.norms = norms

    def build(self, input_shape):
        super().build(input_shape)
        rng = np.random.default_rng(self.seed)
        value = orthogonal_features(self.num_features, self._key_size, rng, self.norms)
        self.projection = self.add_weight(
            shape=value.shape,
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(value, dtype),
            trainable=False,
            dtype="float32",
            autocast=False,
            name="projection",
        )

    def call(self, inputs, attention_mask=None, mask=None):
        if attention_mask is not None:
            mask = attention_mask[:, 0]
        query, key, value = (
            ops.cast(ops.transpose(self._split(dense(inputs)), (0, 2, 1, 3)), "float32")
            for dense in (self.query_dense, self.key_dense, self.value_dense)
        )
        attended = ops.transpose(self.attend(query, key, value, mask), (0, 2, 1, 3))
        return self.merge_heads(ops.cast(attended, self.compute_dtype))

    def exponents(self, x):
        """`w . x - |x|^2 / 2` of queries or keys, `(..., size)` -> `(..., num_features)`.

        `x` is divided by the fourth root of the head size first: so `q . k` is scaled as usual.
        """
        x = x * (self._key_size**-0.25)
        projected = ops.matmul(x, ops.transpose(ops.convert_to_tensor(self.projection)))
        return projected - ops.sum(ops.square(x), axis=-1, keepdims=True) / 2

    def attend(self, query, key, value, mask=None):
        """Attention of `(batch, heads, length, size)`, not scaled; float32, the same shape."""
        batch, heads, length, _ = ops.shape(query)
        ones = ops.ones_like(value[..., :1])
        visible = ones if mask is None else ones * ops.cast(mask, "float32")[:, None, :, None]
        # the last column sums the weights
        value = ops.concatenate([value, ones], axis=-1)
        sums = (self._causal_sums if self.causal else self._sums)(query, key, value, visible)
        weight = sums[..., -1:]
        # a query that sees no key, or (if causal) whose features a later key of its chunk pushes
        # below float32, gets 0
        near = ops.logical_not(weight <= _TINY)  # NaN is near, and is seen
        return ops.where(near, sums[..., :-1] / ops.where(near, weight, 1.0), 0.0)

    def _query_features(self, query, factors=0.0):
        """Features of queries, multiplied by exp(factors)."""
        exponents = self.exponents(query) + factors
        # a common factor of all features of a query cancels
        return ops.exp(exponents - ops.stop_gradient(ops.max(exponents, axis=-1, keepdims=True)))

    def _key_features(self, key, visible):
        """Features of keys with the largest one 1, 0 if hidden, and the logs of their factors."""
        exponents = self.exponents(key)
        factor = ops.stop_gradient(ops.max(exponents, axis=-1, keepdims=True))
        features = ops.exp(exponents - factor) * visible
        return features, ops.where(visible > 0, factor, LOWEST)[..., 0]

    def _total(self, features, factors, value):
        """Features times values, summed over keys and scaled by exp(-largest); and largest."""
        largest = ops.max(factors, axis=-1)
        features = features * ops.exp(factors - largest[..., None])[..., None]
        return ops.matmul(ops.swapaxes(features, -1, -2), value), largest

    def _sums(self, query, key, value, visible):
        # every feature has a factor of its own, so that the largest product is at least 1
        exponents = ops.where(visible > 0, self.exponents(key), LOWEST)
        factors = ops.stop_gradient(ops.max(exponents, axis=-2, keepdims=True))
        features = ops.exp(exponents - factors) * visible
        total = ops.matmul(ops.swapaxes(features, -1, -2), value)
        return ops.matmul(self._query_features(query, factors), total)

    def _causal_sums(self, query, key, value, visible):
        batch, heads, length, _ = ops.shape(query)
        query, key, value, visible = map(self._in_chunks, (query, key, value, visible))
        seen = self._query_features(query)
        features, factors = self._key_features(key, visible)

        def add(state, chunk):
            (total, largest), (new, its_largest) = _unpack(state), _unpack(chunk)
            now = ops.maximum(largest, its_largest)
            total = total * ops.exp(largest - now)[..., None, None]
            return _pack(total + new * ops.exp(its_largest - now)[..., None, None], now), state

        new, its_largest = self._total(features, factors, value)
        nothing = _pack(ops.zeros_like(new[0]), ops.full_like(its_largest[0], LOWEST))
        _, earlier = ops.scan(add, nothing, _pack(new, its_largest))
        total, largest = _unpack(earlier)
        place = ops.arange(self.chunk)
        past = place[:, None] >= place
        pairs = ops.where(past, factors[..., None, :], LOWEST)
        now = ops.maximum(largest[..., None], ops.max(pairs, axis=-1))
        # where no key is visible yet, `now` is as low as what is hidden
        decays = ops.where(past, ops.exp(pairs - now[..., None]), 0.0)
        weights = ops.matmul(seen, ops.swapaxes(features, -1, -2)) * decays
        earlier = ops.matmul(seen, total) * ops.exp(largest[..., None] - now)[..., None]
        sums = ops.transpose(ops.matmul(weights, value) + earlier, (1, 2, 0, 3, 4))
        sums = ops.reshape(sums, (batch, heads, -1, ops.shape(value)[-1]))
        return sums[:, :, :length]

    def _in_chunks(self, x):
        """`(batch, heads, length, n)` -> `(chunks, batch, heads, chunk, n)`, filled up with 0."""
        batch, heads, length, n = ops.shape(x)
        chunks = (length + self.chunk - 1) // self.chunk
        x = ops.pad(x, ((0, 0), (0, 0), (0, chunks * self.chunk - length), (0, 0)))
        x = ops.reshape(x, (batch, heads, chunks, self.chunk, n))
        return ops.transpose(x, (2, 0, 1, 3, 4))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.output_size or input_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "num_features": self.num_features,
            "causal": self.causal,
            "seed": self.seed,
            "chunk": self.chunk,
            "norms": self.norms,
        }
