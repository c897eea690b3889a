"""The trunk of BERT, which RoFormer, NEZHA, ALBERT, ELECTRA and others have too."""

from kexue_keras.models.blueprint import Blueprint
from kexue_keras.models.checkpoints.names import (
    of_attention,
    of_dense,
    of_layer_norm,
    of_linear,
    of_norm,
)


class PostNorm(Blueprint):
    """Embeddings and blocks of BERT, without what comes after: normalization after every sum.

    Args: see `Blueprint`.
    """

    def embed(self, inputs, positions):
        x = self.add_positions(self.embed_tokens(inputs), positions)
        x = self.dropout(self.norm(x, "Embedding-Norm"), "Embedding-Dropout")
        return self.to_hidden_size(x)

    def to_hidden_size(self, x):
        """Embeddings as wide as the blocks are, by a dense layer where they are not."""
        if self.embedding_size == self.config["hidden_size"]:
            return x
        return self.dense(x, self.config["hidden_size"], "Embedding-Mapping")

    def block(self, x, index, attend):
        name = self.block_name(index)
        attended = attend(self.attention(index), x, index)
        x = self._residual(x, attended, f"{name}-MultiHeadSelfAttention")
        return self._residual(x, self.feed_forward(x, index), f"{name}-FeedForward")

    def _residual(self, x, update, name):
        return self.norm(self.residual(x, update, name), f"{name}-Norm")

    def variable_mapping(self):
        embeddings = "bert/embeddings"
        mapping = {
            "Embedding-Token": [f"{embeddings}/word_embeddings"],
            "Embedding-Segment": [f"{embeddings}/token_type_embeddings"],
            "Embedding-Position": [f"{embeddings}/position_embeddings"],
            "Embedding-Norm": of_norm(f"{embeddings}/LayerNorm"),
            "Embedding-Mapping": of_dense("bert/encoder/embedding_hidden_mapping_in"),
        }
        for index in range(self.depth):
            mapping |= self.block_mapping(index)
        return mapping

    def block_mapping(self, index):
        """What `variable_mapping` says of a block."""
        ours, google = self.block_name(index), f"bert/encoder/layer_{index}"
        attention = f"{google}/attention"
        return {
            f"{ours}-MultiHeadSelfAttention": of_attention(
                f"{attention}/self", f"{attention}/output/dense"
            ),
            f"{ours}-MultiHeadSelfAttention-Norm": of_norm(f"{attention}/output/LayerNorm"),
            f"{ours}-FeedForward": of_dense(
                f"{google}/intermediate/dense", f"{google}/output/dense"
            ),
            f"{ours}-FeedForward-Norm": of_norm(f"{google}/output/LayerNorm"),
        }

    def hugging_face_mapping(self):
        embeddings = "embeddings"
        mapping = {
            "Embedding-Token": [f"{embeddings}.word_embeddings.weight"],
            "Embedding-Segment": [f"{embeddings}.token_type_embeddings.weight"],
            "Embedding-Position": [f"{embeddings}.position_embeddings.weight"],
            "Embedding-Norm": of_layer_norm(f"{embeddings}.LayerNorm"),
        }
        for index in range(self.depth):
            mapping |= self.hugging_face_block(index)
        return mapping

    def hugging_face_block(self, index):
        """What `hugging_face_mapping` says of a block."""
        ours, theirs = self.block_name(index), f"encoder.layer.{index}"
        attention = f"{theirs}.attention"
        parts = [f"{attention}.self.{part}" for part in ("query", "key", "value")]
        return {
            f"{ours}-MultiHeadSelfAttention": of_linear(*parts, f"{attention}.output.dense"),
            f"{ours}-MultiHeadSelfAttention-Norm": of_layer_norm(f"{attention}.output.LayerNorm"),
            f"{ours}-FeedForward": of_linear(
                f"{theirs}.intermediate.dense", f"{theirs}.output.dense"
            ),
            f"{ours}-FeedForward-Norm": of_layer_norm(f"{theirs}.output.LayerNorm"),
        }
