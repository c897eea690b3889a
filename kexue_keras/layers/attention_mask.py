"""Which token may look at which: padding, causal and UniLM masks."""

import keras
from keras import layers, ops

_MODES = ("padding", "causal", "unilm")


def visible_tokens(token_ids):
    """Which tokens are no padding: bool, of the shape `(batch, length)` of `token_ids`.

    Padding is id 0, except at the first position (as in bert4keras), so that every token has
    something to look at.

    Example:

    >>> import numpy as np
    >>> from kexue_keras.layers.attention_mask import visible_tokens
    >>> np.asarray(visible_tokens(np.array([[0, 5, 0]]))).tolist()
    [[True, True, False]]
    """
    visible = ops.not_equal(token_ids, 0)
    return ops.concatenate([ops.ones_like(visible[:, :1]), visible[:, 1:]], axis=1)


@keras.saving.register_keras_serializable(package="kexue_keras")
class AttentionMask(layers.Layer):
    """Makes the attention mask of a whole model from its token ids and segment ids.

    - "padding": every token sees every token that is not padding;
    - "causal": token i sees tokens j <= i that are not padding;
    - "unilm": token i sees token j if `cumsum(segments)[j] <= cumsum(segments)[i]`: segment 0 (the
      source) sees itself in both directions, segment 1 (the target) sees the source and what comes
      before it (https://kexue.fm/archives/6933, https://arxiv.org/abs/1905.03197).

    Padding is token id 0, except at the first position, which is never masked (as in bert4keras),
    so that every row of the softmax has something to look at.

    Args:
        mode: "padding", "causal" or "unilm".

    Call arguments:
        token_ids: int, `(batch, length)`.
        segment_ids: int, `(batch, length)`; needed by "unilm" only.

    Output shape: bool, `(batch, 1, length)` for "padding", else `(batch, length, length)`.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> mask = layers.AttentionMask("unilm")(np.array([[5, 6, 7, 0]]), np.array([[0, 1, 1, 0]]))
    >>> np.asarray(mask).astype(int).tolist()
    [[[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]]]
    """

    def __init__(self, mode="padding", **kwargs):
        super().__init__(**kwargs)
        if mode not in _MODES:
            raise ValueError(f"`mode` must be one of {_MODES}. Received: {mode!r}")
        self.mode = mode

    def call(self, token_ids, segment_ids=None):
        if self.mode == "unilm" and segment_ids is None:
            raise ValueError('`segment_ids` are needed by mode "unilm". Received: None')
        visible = ops.expand_dims(visible_tokens(token_ids), 1)
        if self.mode == "padding":
            return visible
        if self.mode == "causal":
            positions = ops.arange(ops.shape(token_ids)[1])
            allowed = ops.expand_dims(positions[None, :] <= positions[:, None], 0)
        else:
            order = ops.cumsum(ops.cast(segment_ids, "int32"), axis=1)
            allowed = ops.less_equal(ops.expand_dims(order, 1), ops.expand_dims(order, 2))
        return ops.logical_and(allowed, visible)

    def compute_output_spec(self, token_ids, segment_ids=None):
        batch, length = token_ids.shape
        rows = 1 if self.mode == "padding" else length
        return keras.KerasTensor((batch, rows, length), dtype="bool")

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}
