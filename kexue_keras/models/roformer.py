"""RoFormer: BERT with rotary positions."""

import keras

from kexue_keras.models.bert import BertBlueprint


@keras.saving.register_keras_serializable(package="kexue_keras")
class RoFormerBlueprint(BertBlueprint):
    """The layers of RoFormer: BERT whose queries and keys are turned, without embedded positions.

    See `MultiHeadAttention(position="rotary")`; texts may have any length. RoFormer-Sim is this
    with `application="unilm"` and `with_pool="linear"`.

    Args:
        position: must be "rotary".
        *args, **kwargs: see `BertBlueprint`.

    Reference: https://kexue.fm/archives/8265; Su et al. 2021, https://arxiv.org/abs/2104.09864;
    RoFormer-Sim: https://kexue.fm/archives/8454
    """

    def __init__(self, *args, position="rotary", **kwargs):
        if position != "rotary":
            raise ValueError(f'`position` must be "rotary" in RoFormer. Received: {position!r}')
        super().__init__(*args, position=position, **kwargs)
