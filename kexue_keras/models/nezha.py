"""NEZHA: BERT with the vectors of distances inside attention."""

import keras

from kexue_keras.layers import RelativePositionTable
from kexue_keras.models.bert import BertBlueprint


@keras.saving.register_keras_serializable(package="kexue_keras")
class NezhaBlueprint(BertBlueprint):
    """The layers of NEZHA: BERT without embeddings of positions.

    In all attentions the fixed vector of a distance is added to the key and to the value, see
    `MultiHeadAttention(position="relative")`; texts may have any length. bert4keras's
    files hold the table of these vectors, Google's do not.

    (NEZHA-Gen, the generator of poems, has BERT's positions: it is `model="bert"` with
    `application="lm"` and `segment_vocab_size=0`.)

    Args:
        max_relative_position: the largest distance that is told from longer ones: 64, and 127 in
            the English model (bert4keras has always 64).
        position: must be "relative".
        *args, **kwargs: see `BertBlueprint`.

    Reference: Wei et al. 2019, https://arxiv.org/abs/1909.00204
    """

    hugging_face_type = "nezha"
    hugging_face_prefixes = ("nezha.", "bert.", "")
    hugging_face_arguments = (*BertBlueprint.hugging_face_arguments, "max_relative_position")
    hugging_face_defaults = {**BertBlueprint.hugging_face_defaults, "vocab_size": 21128}

    def __init__(self, *args, max_relative_position=64, position="relative", **kwargs):
        if position != "relative":
            raise ValueError(f'`position` must be "relative" in NEZHA. Received: {position!r}')
        super().__init__(*args, position=position, **kwargs)
        self.config["max_relative_position"] = max_relative_position

    def attention_arguments(self):
        return {"max_distance": self.config["max_relative_position"]}

    def embed(self, inputs, positions):
        config = self.config
        size = config["attention_head_size"]
        size = size or config["hidden_size"] // config["num_attention_heads"]
        table = self.layer(
            "Embedding-Relative-Position",
            RelativePositionTable,
            size=size,
            max_distance=config["max_relative_position"],
        )
        return table(super().embed(inputs, positions))

    @classmethod
    def from_hugging_face(cls, config):
        longest = config.get("max_relative_position", 64)
        return {**super().from_hugging_face(config), "max_relative_position": longest}

    def to_hugging_face(self):
        longest = self.config["max_relative_position"]
        return {**super().to_hugging_face(), "max_relative_position": longest}
