"""ALBERT: narrow embeddings, and one block for all."""

import keras

from kexue_keras.models.bert import BertBlueprint
from kexue_keras.models.checkpoints.names import (
    Either,
    of_attention,
    of_dense,
    of_layer_norm,
    of_linear,
    of_norm,
)


@keras.saving.register_keras_serializable(package="kexue_keras")
class AlbertBlueprint(BertBlueprint):
    """The layers of ALBERT: those of one BERT block, run `num_hidden_layers` times.

    The layers have bert4keras's names, without the number of a block. In cached decoding each run
    has keys and values of its own. `with_nsp` is the order of two sentences here (1: swapped).

    Google's code has "gelu_tanh" where its files say "gelu"; the exact one of bert4keras is our
    "gelu" too.

    Args:
        num_hidden_groups, inner_group_num: must be 1, as in all published models.
        *args, **kwargs: see `BertBlueprint`.

    Reference: Lan et al. 2019, https://arxiv.org/abs/1909.11942
    """

    hugging_face_type = "albert"
    hugging_face_prefixes = ("albert.", "")
    hugging_face_defaults = {
        **BertBlueprint.hugging_face_defaults,
        "vocab_size": 30000,
        "embedding_size": 128,
        "hidden_size": 4096,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }

    def __init__(self, *args, num_hidden_groups=1, inner_group_num=1, **kwargs):
        groups = {"num_hidden_groups": num_hidden_groups, "inner_group_num": inner_group_num}
        for name, number in groups.items():
            if number != 1:
                raise ValueError(f"`{name}` must be 1. Received: {number}")
        super().__init__(*args, **kwargs)

    def index(self, index):
        return 0

    def block_name(self, index):
        return "Transformer"

    def block_mapping(self, index):
        return albert_block(self.block_name(index))

    def hugging_face_mapping(self):
        return {
            **super().hugging_face_mapping(),
            "Embedding-Mapping": of_linear("encoder.embedding_hidden_mapping_in"),
            "MLM-Dense": of_linear("predictions.dense"),
            "MLM-Norm": of_layer_norm("predictions.LayerNorm"),
            "MLM-Bias": [Either("predictions.bias", "predictions.decoder.bias")],
            "Pooler-Dense": of_linear("pooler"),
            "NSP-Proba": of_linear("sop_classifier.classifier"),
        }

    def hugging_face_block(self, index):
        ours = self.block_name(index)
        theirs = "encoder.albert_layer_groups.0.albert_layers.0"
        parts = [f"{theirs}.attention.{part}" for part in ("query", "key", "value", "dense")]
        return {
            f"{ours}-MultiHeadSelfAttention": of_linear(*parts),
            f"{ours}-MultiHeadSelfAttention-Norm": of_layer_norm(f"{theirs}.attention.LayerNorm"),
            f"{ours}-FeedForward": of_linear(f"{theirs}.ffn", f"{theirs}.ffn_output"),
            f"{ours}-FeedForward-Norm": of_layer_norm(f"{theirs}.full_layer_layer_norm"),
        }

    @classmethod
    def from_hugging_face(cls, config):
        groups = {name: config.get(name, 1) for name in ("num_hidden_groups", "inner_group_num")}
        return {**super().from_hugging_face(config), **groups}

    def to_hugging_face(self):
        return {**super().to_hugging_face(), "embedding_size": self.embedding_size}


def albert_block(ours):
    """Names in Google's format of the block that all share.

    Args:
        ours: what the names of our layers begin with.

    Example:

    >>> from kexue_keras.models.albert import albert_block
    >>> albert_block("Transformer")["Transformer-FeedForward-Norm"][0]
    'bert/encoder/transformer/group_0/inner_group_0/LayerNorm_1/beta'
    """
    group = "bert/encoder/transformer/group_0/inner_group_0"
    attention, intermediate = f"{group}/attention_1", f"{group}/ffn_1/intermediate"
    return {
        f"{ours}-MultiHeadSelfAttention": of_attention(
            f"{attention}/self", f"{attention}/output/dense"
        ),
        f"{ours}-MultiHeadSelfAttention-Norm": of_norm(f"{group}/LayerNorm"),
        f"{ours}-FeedForward": of_dense(f"{intermediate}/dense", f"{intermediate}/output/dense"),
        f"{ours}-FeedForward-Norm": of_norm(f"{group}/LayerNorm_1"),
    }
