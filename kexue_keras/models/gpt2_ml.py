"""GPT2_ML, Chinese and in the manner of Grover, with bert4keras's layer names."""

import keras

from kexue_keras.models.checkpoints.names import of_dense, of_layer_norm, of_norm
from kexue_keras.models.gpt2 import Gpt2Blueprint


@keras.saving.register_keras_serializable(package="kexue_keras")
class Gpt2MlBlueprint(Gpt2Blueprint):
    """The layers of GPT2_ML, and their order.

    Embeddings are normalized; attention reads the hidden states as they are, and the feed-forward
    layer has a normalization before it and one after the sum. "gelu" is the exact one.

    Args:
        *args, **kwargs: see `Gpt2Blueprint`.

    Reference: Zellers et al. 2019, https://arxiv.org/abs/1905.12616;
    https://github.com/imcaspar/gpt2-ml, https://kexue.fm/archives/7292
    """

    gelu = "gelu_erf"
    language_model_layers = ("Embedding-Token",)
    hugging_face_type = None
    hugging_face_other_types = ("gpt2",)

    def embed(self, inputs, positions):
        return self.norm(super().embed(inputs, positions), "Embedding-Norm")

    def block(self, x, index, attend):
        name = self.block_name(index)
        attention, feed_forward = f"{name}-MultiHeadSelfAttention", f"{name}-FeedForward"
        x = self.residual(x, attend(self.attention(index), x, index), attention)
        update = self.feed_forward(self.norm(x, f"{feed_forward}-Norm-0"), index)
        return self.norm(self.residual(x, update, feed_forward), f"{feed_forward}-Norm-1")

    def run(self, inputs, positions, attend):
        return super(Gpt2Blueprint, self).run(inputs, positions, attend)

    def variable_mapping(self):
        embeddings = "newslm/embeddings"
        mapping = {
            "Embedding-Token": [f"{embeddings}/word_embed"],
            "Embedding-Position": [f"{embeddings}/pos_embed"],
            "Embedding-Norm": of_norm(f"{embeddings}/LayerNorm_embed_norm"),
        }
        for index in range(self.depth):
            ours, google = self.block_name(index), f"newslm/layer{index:02d}"
            parts = ("query_layer", "key_layer", "value_layer", "context_projection_layer")
            mapping |= {
                f"{ours}-MultiHeadSelfAttention": of_dense(*(f"{google}/{p}" for p in parts)),
                f"{ours}-FeedForward-Norm-0": of_norm(f"{google}/LayerNorm_mlp_ln0"),
                f"{ours}-FeedForward": of_dense(f"{google}/intermediate", f"{google}/output"),
                f"{ours}-FeedForward-Norm-1": of_norm(f"{google}/LayerNorm_mlp_ln1"),
            }
        return mapping

    def to_hugging_face(self):
        raise ValueError(
            "`model` must be of a family that Hugging Face's library has. Received: GPT2_ML"
        )

    def hugging_face_mapping(self):
        """Names of the port to PyTorch that is like Hugging Face's GPT-2 (ghosthamlet's)."""
        mapping = {
            layer: names
            for layer, names in super().hugging_face_mapping().items()
            if not layer.endswith("-Norm")
        }
        for index in range(self.depth):
            ours, theirs = f"{self.block_name(index)}-FeedForward-Norm", f"h.{index}"
            mapping |= {
                f"{ours}-0": of_layer_norm(f"{theirs}.ln_1"),
                f"{ours}-1": of_layer_norm(f"{theirs}.ln_2"),
            }
        return {**mapping, "Embedding-Norm": of_layer_norm("emb_norm")}
