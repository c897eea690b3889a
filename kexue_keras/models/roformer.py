"""RoFormer: BERT with rotary positions."""

import keras

from kexue_keras.models.bert import BertBlueprint
from kexue_keras.models.checkpoints.names import of_linear


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

    hugging_face_type = "roformer"
    hugging_face_prefixes = ("roformer.", "")
    hugging_face_defaults = {
        **BertBlueprint.hugging_face_defaults,
        "vocab_size": 50000,
        "max_position_embeddings": 1536,
    }

    def __init__(self, *args, position="rotary", **kwargs):
        if position != "rotary":
            raise ValueError(f'`position` must be "rotary" in RoFormer. Received: {position!r}')
        super().__init__(*args, position=position, **kwargs)

    def hugging_face_mapping(self):
        mapping = of_linear("embeddings_project")
        return {**super().hugging_face_mapping(), "Embedding-Mapping": mapping}

    @classmethod
    def from_hugging_face(cls, config):
        if config.get("rotary_value"):
            raise ValueError("`rotary_value` must be false in `config.json`. Received: true")
        if config.get("norm_type") == "rms_norm" or not config.get("use_bias", True):
            raise ValueError(
                '`model` must be "roformer_v2" for a `config.json` with norm_type "rms_norm" or '
                "without use_bias. Received: RoFormer"
            )
        return super().from_hugging_face(config)

    def to_hugging_face(self):
        return {**super().to_hugging_face(), "rotary_value": False}
