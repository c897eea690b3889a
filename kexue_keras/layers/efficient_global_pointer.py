"""GlobalPointer in which types share the matching of starts with ends."""

import keras
from keras import ops

from kexue_keras.layers.global_pointer import GlobalPointer


@keras.saving.register_keras_serializable(package="kexue_keras")
class EfficientGlobalPointer(GlobalPointer):
    """A `GlobalPointer` that has one query and key for all types, and few weights for each type.

    That a piece is one at all is told apart from what type it is of. With `q_i` and `k_i` of one
    projection for all types and `z_i = [q_i; k_i]`, interleaved,

    `s_a(i, j) = (R_i q_i) . (R_j k_j) / sqrt(head_size) + (u_a . z_i + v_a . z_j) / 2`,

    where `u_a` and `v_a` have a bias too. A type adds `4 head_size` weights in place of
    `2 features head_size`.

    Args:
        heads, head_size, RoPE, use_bias, tril_mask, kernel_initializer: as of `GlobalPointer`.

    Input shape, output shape, masking: as of `GlobalPointer`.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> layer = layers.EfficientGlobalPointer(heads=100, head_size=64)
    >>> tuple(layer(np.ones((1, 3, 768), "float32")).shape), layer.count_params()
    ((1, 100, 3, 3), 124232)

    Reference: https://kexue.fm/archives/8877; Su et al. 2022, https://arxiv.org/abs/2208.03054
    """

    def build(self, input_shape):
        self.p_dense = self.made_dense("p_dense", 2 * self.head_size)
        self.p_dense.build(input_shape)
        self.q_dense = self.made_dense("q_dense", 2 * self.heads)
        self.q_dense.build((*input_shape[:-1], 2 * self.head_size))

    def call(self, inputs, mask=None):
        z = self.p_dense(inputs)
        queries, keys = z[..., None, ::2], z[..., None, 1::2]
        types = ops.transpose(ops.cast(self.q_dense(z), "float32"), (0, 2, 1)) / 2
        ends, starts = types[:, ::2, None, :], types[:, 1::2, :, None]
        return self.hide(self.products(queries, keys) + starts + ends, mask)
