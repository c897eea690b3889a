"""Scores of all pieces of a text, for nested entities and relations."""

import keras
from keras import initializers, layers, ops

from kexue_keras.layers.positions import apply_rotary_positions
from kexue_keras.ops import LOWEST


@keras.saving.register_keras_serializable(package="kexue_keras")
class GlobalPointer(layers.Layer):
    """A score for each pair of positions, as the start and the end of a piece, and each type.

    A piece from i to j is of type a if `s_a(i, j) > 0`. Pieces may lie in one another and
    overlap, which labels of tokens cannot say. With `q_a,i = W_q,a h_i + b_q,a`,
    `k_a,j = W_k,a h_j + b_k,a` and rotary positions R,

    `s_a(i, j) = (R_i q_a,i) . (R_j k_a,j) / sqrt(head_size)`.

    The rotary positions make the score depend on j - i, the length of the piece; without them the
    model hardly learns to tell one long piece from two short ones. Train it with
    `losses.sparse_multilabel_categorical_crossentropy` (the pairs of a type as `i length + j`) or
    `losses.multilabel_categorical_crossentropy`; `EfficientGlobalPointer` needs far fewer weights
    for many types.

    Args:
        heads: number of types.
        head_size: features of a query and a key; even with `RoPE`.
        RoPE: whether positions are rotary ones; False: none.
        use_bias: whether the dense layer has a bias.
        tril_mask: whether pairs whose end is before the start are hidden. False: the pairs are no
            pieces but, say, heads of two entities in a relation.
        kernel_initializer: initializer of the kernel.

    Input shape: `(batch, length, features)`.

    Output shape: `(batch, heads, length, length)`, float32: type, start, end. Hidden pairs have the
    score -1e30.

    Masking: pairs with a masked position are hidden; the output has no mask.

    Raises:
        ValueError: `heads` or `head_size` below 1, or an odd `head_size` with `RoPE`.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> scores = layers.GlobalPointer(heads=2, head_size=4)(np.ones((1, 3, 8), "float32"))
    >>> tuple(scores.shape), (np.asarray(scores)[0, 0] > -1e29).sum().item()
    ((1, 2, 3, 3), 6)

    Reference: https://kexue.fm/archives/8373; Su et al. 2022, https://arxiv.org/abs/2208.03054
    """

    def __init__(
        self,
        heads,
        head_size,
        RoPE=True,
        use_bias=True,
        tril_mask=True,
        kernel_initializer="lecun_normal",
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in (("heads", heads), ("head_size", head_size)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {value}")
        if RoPE and head_size % 2:
            raise ValueError(f"`head_size` must be even with `RoPE`. Received: {head_size}")
        self.supports_masking = True
        self.heads = heads
        self.head_size = head_size
        self.RoPE = RoPE
        self.use_bias = use_bias
        self.tril_mask = tril_mask
        self.kernel_initializer = initializers.get(kernel_initializer)

    def build(self, input_shape):
        self.dense = self.made_dense("dense", 2 * self.heads * self.head_size)
        self.dense.build(input_shape)

    def made_dense(self, name, units):
        """A new dense layer of the initializer and dtype of this one."""
        return layers.Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, inputs, mask=None):
        length = ops.shape(inputs)[1]
        x = ops.reshape(self.dense(inputs), (-1, length, self.heads, 2 * self.head_size))
        queries, keys = x[..., : self.head_size], x[..., self.head_size :]
        return self.hide(self.products(queries, keys), mask)

    def products(self, queries, keys):
        """Products of all queries and keys by the root of their size, float32.

        Args:
            queries, keys: `(batch, length, heads, head_size)`.

        Returns:
            `(batch, heads, length, length)`.
        """
        if self.RoPE:
            queries, keys = apply_rotary_positions(queries), apply_rotary_positions(keys)
        scores = ops.einsum("bihd,bjhd->bhij", queries, keys)
        return ops.cast(scores, "float32") / self.head_size**0.5

    def hide(self, scores, mask):
        """The scores, with the lowest one for pairs that are hidden."""
        if mask is not None:
            mask = ops.cast(mask, "bool")
            pairs = ops.logical_and(mask[:, None, :, None], mask[:, None, None, :])
            scores = ops.where(pairs, scores, LOWEST)
        if self.tril_mask:
            places = ops.arange(ops.shape(scores)[-1])
            scores = ops.where(places[:, None] <= places, scores, LOWEST)
        return scores

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_spec(self, inputs, mask=None):
        batch, length = inputs.shape[:2]
        return keras.KerasTensor((batch, self.heads, length, length), dtype="float32")

    def bert4keras_weights(self):
        """bert4keras's names and this layer's variables, in bert4keras's order."""
        return [(f"{v.path.split('/')[-2]}/{v.name}", v) for v in self.weights]

    def get_config(self):
        return {
            **super().get_config(),
            "heads": self.heads,
            "head_size": self.head_size,
            "RoPE": self.RoPE,
            "use_bias": self.use_bias,
            "tril_mask": self.tril_mask,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
        }
