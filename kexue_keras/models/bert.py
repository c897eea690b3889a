"""BERT as encoder, causal language model or UniLM, with bert4keras's layer names."""

import keras
from keras import layers as keras_layers

from kexue_keras import layers
from kexue_keras.models.blueprint import Blueprint
from kexue_keras.models.blueprint_config import parameters_of
from kexue_keras.models.checkpoints.names import (
    Either,
    Transposed,
    of_attention,
    of_dense,
    of_layer_norm,
    of_linear,
    of_norm,
)
from kexue_keras.models.transformer import Transformer


@keras.saving.register_keras_serializable(package="kexue_keras")
class BertBlueprint(Blueprint):
    """The layers of BERT and RoBERTa, and their order.

    Args:
        with_pool: adds the pooled output; True means tanh, else the name of an activation.
        with_nsp: turns the pooled output into next-sentence probabilities.
        *args, **kwargs: see `Blueprint`.
    """

    hugging_face_type = "bert"
    hugging_face_prefixes = ("bert.", "")

    def __init__(self, *args, with_pool=False, with_nsp=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.config.update(with_pool=with_pool, with_nsp=with_nsp)

    def embed(self, inputs, positions):
        x = self.add_positions(self.embed_tokens(inputs), positions)
        x = self.dropout(self.norm(x, "Embedding-Norm"), "Embedding-Dropout")
        if self.embedding_size != self.config["hidden_size"]:
            x = self.dense(x, self.config["hidden_size"], "Embedding-Mapping")
        return x

    def block(self, x, index, attend):
        name = f"Transformer-{self.index(index)}"
        attended = attend(self.attention(index), x, index)
        x = self._residual(x, attended, f"{name}-MultiHeadSelfAttention")
        return self._residual(x, self.feed_forward(x, index), f"{name}-FeedForward")

    def _residual(self, x, update, name):
        x = self.add([x, self.dropout(update, f"{name}-Dropout")], f"{name}-Add")
        return self.norm(x, f"{name}-Norm")

    def transform(self, x):
        x = self.dense(x, self.embedding_size, "MLM-Dense", self.config["hidden_act"])
        return self.norm(x, "MLM-Norm")

    def head(self, x):
        x = self.token_embedding()(self.transform(x), mode="dense")
        return self.layer("MLM-Bias", layers.BiasAdd)(x)

    def outputs(self, x, inputs):
        config = self.config
        if not (config["with_pool"] or config["with_nsp"]):
            return super().outputs(x, inputs)
        return [self._pool(x), *(super().outputs(x, inputs) if config["with_mlm"] else [])]

    def _pool(self, x):
        config = self.config
        activation = config["with_pool"] if isinstance(config["with_pool"], str) else "tanh"
        x = self.layer("Pooler", layers.FirstToken)(x)
        x = self.dense(x, config["hidden_size"], "Pooler-Dense", activation)
        if config["with_nsp"]:
            # its softmax in float32
            x = self.layer(
                "NSP-Proba",
                keras_layers.Dense,
                "kernel_initializer",
                units=2,
                activation="softmax",
                dtype="float32",
            )(x)
        return x

    def variable_mapping(self):
        embeddings, head = "bert/embeddings", "cls/predictions"
        mapping = {
            "Embedding-Token": [f"{embeddings}/word_embeddings"],
            "Embedding-Segment": [f"{embeddings}/token_type_embeddings"],
            "Embedding-Position": [f"{embeddings}/position_embeddings"],
            "Embedding-Norm": of_norm(f"{embeddings}/LayerNorm"),
            "Embedding-Mapping": of_dense("bert/encoder/embedding_hidden_mapping_in"),
        }
        for index in range(self.depth):
            ours, google = f"Transformer-{index}", f"bert/encoder/layer_{index}"
            attention = f"{google}/attention"
            mapping |= {
                f"{ours}-MultiHeadSelfAttention": of_attention(
                    f"{attention}/self", f"{attention}/output/dense"
                ),
                f"{ours}-MultiHeadSelfAttention-Norm": of_norm(f"{attention}/output/LayerNorm"),
                f"{ours}-FeedForward": of_dense(
                    f"{google}/intermediate/dense", f"{google}/output/dense"
                ),
                f"{ours}-FeedForward-Norm": of_norm(f"{google}/output/LayerNorm"),
            }
        return mapping | {
            "MLM-Dense": of_dense(f"{head}/transform/dense"),
            "MLM-Norm": of_norm(f"{head}/transform/LayerNorm"),
            "MLM-Bias": [f"{head}/output_bias"],
            "Pooler-Dense": of_dense("bert/pooler/dense"),
            "NSP-Proba": [
                Transposed("cls/seq_relationship/output_weights"),
                "cls/seq_relationship/output_bias",
            ],
        }

    def hugging_face_mapping(self):
        embeddings, head = "embeddings", "cls.predictions"
        return {
            "Embedding-Token": [f"{embeddings}.word_embeddings.weight"],
            "Embedding-Segment": [f"{embeddings}.token_type_embeddings.weight"],
            "Embedding-Position": [f"{embeddings}.position_embeddings.weight"],
            "Embedding-Norm": of_layer_norm(f"{embeddings}.LayerNorm"),
            **self.hugging_face_blocks(),
            "MLM-Dense": of_linear(f"{head}.transform.dense"),
            "MLM-Norm": of_layer_norm(f"{head}.transform.LayerNorm"),
            "MLM-Bias": [Either(f"{head}.bias", f"{head}.decoder.bias")],
            "Pooler-Dense": of_linear("pooler.dense"),
            "NSP-Proba": of_linear("cls.seq_relationship"),
        }

    def hugging_face_blocks(self):
        """The names of all blocks' layers in Hugging Face's format, the same in many families."""
        mapping = {}
        for index in range(self.depth):
            ours, theirs = f"Transformer-{index}", f"encoder.layer.{index}"
            attention = f"{theirs}.attention"
            parts = [f"{attention}.self.{part}" for part in ("query", "key", "value")]
            mapping |= {
                f"{ours}-MultiHeadSelfAttention": of_linear(*parts, f"{attention}.output.dense"),
                f"{ours}-MultiHeadSelfAttention-Norm": of_layer_norm(
                    f"{attention}.output.LayerNorm"
                ),
                f"{ours}-FeedForward": of_linear(
                    f"{theirs}.intermediate.dense", f"{theirs}.output.dense"
                ),
                f"{ours}-FeedForward-Norm": of_layer_norm(f"{theirs}.output.LayerNorm"),
            }
        return mapping


@keras.saving.register_keras_serializable(package="kexue_keras")
class Bert(Transformer):
    """BERT, an ordinary functional Keras model whose layers have bert4keras's names.

    Inputs: `[token_ids, segment_ids]`, int32 `(batch, length)`; 0 is padding. With
    `target_positions` a third one, int32 `(batch, targets)`, and with `condition_size` the last
    one, float `(batch, condition_size)`.

    Outputs: the hidden states `(batch, length, hidden_size)`, float; or, if asked for, the pooled
    output `(batch, hidden_size)` (or the next-sentence probabilities `(batch, 2)`), the masked-LM
    output `(batch, length or targets, vocab_size)`, or a list of both.

    Padding on the right never changes a result: it is hidden from every token (the first token is
    never taken for padding), and outputs of `(batch, length, ...)` carry the Keras mask of it.

    Args:
        vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, ...: see
            `Blueprint`. "lm" and "unilm" turn `with_mlm` on, as in bert4keras. A Performer
            (`num_features`) is not for "unilm", and has no dropout of attention weights, which it
            never computes.
        with_pool: adds the pooled output; True means tanh, else the name of an activation.
        with_nsp: turns the pooled output into next-sentence probabilities.
        name, dtype, **kwargs: as of any Keras model.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import models
    >>> model = models.Bert(vocab_size=20, hidden_size=8, num_hidden_layers=1,
    ...                     num_attention_heads=2, intermediate_size=16, max_position=32)
    >>> tuple(model([np.array([[2, 7, 3]]), np.zeros((1, 3), "int32")]).shape)
    (1, 3, 8)

    Reference: Devlin et al. 2018, https://arxiv.org/abs/1810.04805;
    UniLM: https://arxiv.org/abs/1905.03197 and https://kexue.fm/archives/6933
    """

    def __init__(
        self,
        vocab_size,
        hidden_size,
        num_hidden_layers,
        num_attention_heads,
        intermediate_size,
        hidden_act="gelu",
        max_position=512,
        segment_vocab_size=2,
        embedding_size=None,
        attention_head_size=None,
        dropout_rate=0.0,
        attention_dropout_rate=0.0,
        application="encoder",
        with_pool=False,
        with_nsp=False,
        with_mlm=False,
        keep_tokens=None,
        target_positions=False,
        attention_scale="sqrt_dim",
        train_length=512,
        normalizer="softmax",
        num_features=None,
        name=None,
        dtype=None,
        position="learned",
        condition_size=None,
        epsilon=None,
        **kwargs,
    ):
        given = locals()
        arguments = {name: given[name] for name in parameters_of(BertBlueprint)}
        super().__init__(BertBlueprint(**arguments), name=name, **kwargs)

    def get_config(self):
        return {k: v for k, v in super().get_config().items() if k != "family"}

    @classmethod
    def build_from(cls, name, config, custom_objects=None):
        return cls(**config, name=name)
