"""The RoBERTa of fairseq and Hugging Face; Chinese checkpoints of that name are BERTs."""

import keras
from keras import ops

from kexue_keras.models.bert import BertBlueprint
from kexue_keras.models.checkpoints.names import Either, Rows, of_layer_norm, of_linear
from kexue_keras.models.hugging_face_family import HuggingFaceFamily


@keras.saving.register_keras_serializable(package="kexue_keras")
class RobertaBlueprint(BertBlueprint):
    """BERT's layers with another head's names, and other padding, positions and segments.

    In its files padding is id 1, and the positions of a text begin after it, at row 2. Padding is
    id 0 here, so `keep_tokens` must begin with 1: `[1, 0, *range(2, vocab_size)]` exchanges the ids
    of padding and of `<s>`, and the token ids for the model must have them exchanged as well.
    There is one segment, and no input of segments, unless `segment_vocab_size` is at least 2.

    Args:
        pad_token_id: id of padding in the checkpoint's vocabulary.
        *args, **kwargs: see `BertBlueprint`.

    Example:

    >>> from kexue_keras import models
    >>> kept = [1, 0, *range(2, 20)]
    >>> blueprint = models.RobertaBlueprint(20, 8, 1, 2, 16, segment_vocab_size=0, keep_tokens=kept)
    >>> models.Transformer(blueprint).input_shape
    [(None, None)]

    Reference: Liu et al. 2019, https://arxiv.org/abs/1907.11692
    """

    hugging_face_type = "roberta"
    hugging_face_prefixes = ("roberta.", "")
    hugging_face_defaults = HuggingFaceFamily.hugging_face_defaults | {
        "vocab_size": 50265,
        "pad_token_id": 1,
    }
    hugging_face_arguments = (*HuggingFaceFamily.hugging_face_arguments, "pad_token_id")

    def __init__(self, *args, pad_token_id=1, **kwargs):
        super().__init__(*args, **kwargs)
        self.config.update(pad_token_id=pad_token_id)
        kept = self.config["keep_tokens"] or [0]
        if kept[0] != pad_token_id:
            raise ValueError(
                f"`keep_tokens` must begin with the id of padding, {pad_token_id}, as padding is "
                "id 0 here; [1, 0, *range(2, vocab_size)] exchanges the two, which the token ids "
                f"need too. Received: {str(self.config['keep_tokens'])[:40]}"
            )

    def embed_tokens(self, inputs):
        x = super().embed_tokens(inputs)
        if self.config["segment_vocab_size"]:
            return x
        segment = self.embedding("Embedding-Segment", 1)
        first = segment(ops.zeros_like(x[..., 0], dtype="int32"))
        return self.add([x, first], "Embedding-Token-Segment")

    def hugging_face_mapping(self):
        mapping = super().hugging_face_mapping()
        del mapping["NSP-Proba"]
        position = mapping["Embedding-Position"][0]
        return mapping | {
            "Embedding-Position": [Rows(position, self.config["pad_token_id"] + 1)],
            "MLM-Dense": of_linear("lm_head.dense"),
            "MLM-Norm": of_layer_norm("lm_head.layer_norm"),
            "MLM-Bias": [Either("lm_head.bias", "lm_head.decoder.bias")],
        }

    @classmethod
    def from_hugging_face(cls, config):
        found = super().from_hugging_face(config)
        pad = {**cls.hugging_face_defaults, **config}["pad_token_id"]
        found["max_position"] -= pad + 1
        if found["segment_vocab_size"] < 2:
            found["segment_vocab_size"] = 0
        return {**found, "pad_token_id": pad}

    def to_hugging_face(self):
        found, pad = super().to_hugging_face(), self.config["pad_token_id"]
        if self.config["keep_tokens"] is not None and not self.keeps_all_tokens:
            raise ValueError(
                "`keep_tokens` must hold all ids in Hugging Face's format of 'roberta', whose "
                f"positions depend on the id of padding. Received: {self.vocab_size} of "
                f"{self.config['vocab_size']}"
            )
        return found | {
            "pad_token_id": pad,
            "max_position_embeddings": self.config["max_position"] + pad + 1,
            "type_vocab_size": self.config["segment_vocab_size"] or 1,
        }
