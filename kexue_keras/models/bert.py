"""BERT as encoder, causal language model or UniLM, with bert4keras's layer names."""

import keras
from keras import layers as keras_layers

from kexue_keras import layers
from kexue_keras.layers.feed_forward import exact_activation

_APPLICATIONS = {"encoder": "padding", "lm": "causal", "unilm": "unilm"}


@keras.saving.register_keras_serializable(package="kexue_keras")
class Bert(keras.Model):
    """BERT, an ordinary functional Keras model whose layers have bert4keras's names.

    Inputs: `[token_ids, segment_ids]`, int32 `(batch, length)`; 0 is padding. With
    `target_positions` a third one, int32 `(batch, targets)`.

    Outputs: the hidden states `(batch, length, hidden_size)`, float; or, if asked for, the pooled
    output `(batch, hidden_size)` (or the next-sentence probabilities `(batch, 2)`), the masked-LM
    output `(batch, length or targets, vocab_size)`, or a list of both.

    Padding on the right never changes a result: it is hidden from every token (the first token is
    never taken for padding), and outputs of `(batch, length, ...)` carry the Keras mask of it.

    Args:
        vocab_size: size of the vocabulary. With `keep_tokens`, of the checkpoint's vocabulary.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: as in
            `bert_config.json`.
        hidden_act: activation of the feed-forward layers; "gelu" is the exact one.
        max_position: number of position embeddings.
        segment_vocab_size: number of segment embeddings.
        embedding_size: size of the embeddings, `hidden_size` by default.
        attention_head_size: size of a head, `hidden_size / num_attention_heads` by default.
        dropout_rate, attention_dropout_rate: dropout of hidden states and of attention weights.
        application: "encoder" (every token sees all), "lm" (the ones before) or "unilm" (segment 0
            sees itself, segment 1 sees segment 0 and what comes before). "lm" and "unilm" turn
            `with_mlm` on, as in bert4keras.
        with_pool: adds the pooled output; True means tanh, else the name of an activation.
        with_nsp: turns the pooled output into next-sentence probabilities.
        with_mlm: adds the masked-LM output; True means probabilities, "linear" logits.
        keep_tokens: ids of the checkpoint's tokens to keep, in the order of the new ids.
        target_positions: adds an input of positions, and computes the masked-LM output only there.
        attention_scale, train_length, normalizer: see `MultiHeadAttention`.
        num_features: number of random features of `PerformerAttention`, whose cost grows linearly
            with the length, in place of softmax attention; None keeps the latter. Not for "unilm",
            and without dropout of attention weights, which a Performer never computes.

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
        **kwargs,
    ):
        if application not in _APPLICATIONS:
            raise ValueError(
                f"`application` must be one of {tuple(_APPLICATIONS)}. Received: {application!r}"
            )
        if application == "unilm" and segment_vocab_size < 2:
            raise ValueError(
                '`segment_vocab_size` must be at least 2 for "unilm". '
                f"Received: {segment_vocab_size}"
            )
        if num_attention_heads < 1:
            raise ValueError(
                f"`num_attention_heads` must be at least 1. Received: {num_attention_heads}"
            )
        if attention_head_size is None and hidden_size % num_attention_heads:
            raise ValueError(
                f"`num_attention_heads` must divide `hidden_size` {hidden_size}. "
                f"Received: {num_attention_heads}"
            )
        if keep_tokens is not None:
            keep_tokens = [int(i) for i in keep_tokens]
            if not keep_tokens:
                raise ValueError("`keep_tokens` must not be empty. Received: []")
            wrong = [i for i in keep_tokens if not 0 <= i < vocab_size]
            if wrong:
                raise ValueError(
                    f"`keep_tokens` must be ids below `vocab_size` {vocab_size}. "
                    f"Received: {wrong[0]}"
                )
        if application != "encoder":
            with_mlm = with_mlm or True
        if num_features is not None:
            if num_features < 1:
                raise ValueError(f"`num_features` must be at least 1. Received: {num_features}")
            if application == "unilm":
                raise ValueError(
                    f'`num_features` must be None for "unilm". Received: {num_features}'
                )
            if (attention_scale, normalizer) != ("sqrt_dim", "softmax"):
                raise ValueError(
                    "`attention_scale` and `normalizer` must be left out with `num_features`. "
                    f"Received: {attention_scale!r} and {normalizer!r}"
                )
        if target_positions and not with_mlm:
            raise ValueError("`target_positions` needs `with_mlm`. Received: with_mlm=False")
        config = {
            "vocab_size": vocab_size,
            "hidden_size": hidden_size,
            "num_hidden_layers": num_hidden_layers,
            "num_attention_heads": num_attention_heads,
            "intermediate_size": intermediate_size,
            "hidden_act": hidden_act,
            "max_position": max_position,
            "segment_vocab_size": segment_vocab_size,
            "embedding_size": embedding_size,
            "attention_head_size": attention_head_size,
            "dropout_rate": dropout_rate or 0.0,
            "attention_dropout_rate": attention_dropout_rate or 0.0,
            "application": application,
            "with_pool": with_pool,
            "with_nsp": with_nsp,
            "with_mlm": with_mlm,
            "keep_tokens": keep_tokens,
            "target_positions": target_positions,
            "attention_scale": attention_scale,
            "train_length": train_length,
            "normalizer": normalizer,
            "num_features": num_features,
        }
        inputs, outputs = _Graph(config, dtype).build()
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)
        self._config = config
        self._dtype_config = keras.dtype_policies.serialize(keras.dtype_policies.get(dtype))

    @property
    def application(self):
        """ "encoder", "lm" or "unilm"."""
        return self._config["application"]

    @property
    def keep_tokens(self):
        """Ids, in the checkpoint's vocabulary, of the tokens of this model; None if all."""
        return self._config["keep_tokens"]

    @property
    def max_position(self):
        """Length of the longest sequence."""
        return self._config["max_position"]

    def get_config(self):
        return {
            **self._config,
            "name": self.name,
            "dtype": self._dtype_config,
            "trainable": self.trainable,
            "frozen": [layer.name for layer in self.layers if not layer.trainable],
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        trainable, frozen = config.pop("trainable", True), config.pop("frozen", ())
        model = cls(**config)
        model.trainable = trainable
        for layer in model.layers:
            layer.trainable = layer.name not in frozen
        return model


class _Graph:
    """Lays the layers of a `Bert` of one configuration and policy out as a symbolic graph."""

    def __init__(self, config, dtype):
        self.config = config
        self.dtype = dtype
        self.embedding_size = config["embedding_size"] or config["hidden_size"]
        vocab_size = len(config["keep_tokens"]) if config["keep_tokens"] else config["vocab_size"]
        self.token_embedding = self._embedding(vocab_size, "Embedding-Token", mask_zero=True)

    def build(self):
        """Returns the symbolic inputs and outputs."""
        config = self.config
        inputs = [keras.Input((None,), dtype="int32", name="Input-Token")]
        if config["segment_vocab_size"]:
            inputs.append(keras.Input((None,), dtype="int32", name="Input-Segment"))
        x = self._embed(inputs)
        mode = _APPLICATIONS[config["application"]]
        if config["num_features"]:
            mode = "padding"  # a Performer knows by itself what comes before
        mask = layers.AttentionMask(mode, name="Attention-Mask")(*inputs[: 1 + (mode == "unilm")])
        for index in range(config["num_hidden_layers"]):
            x = self._transformer(x, mask, f"Transformer-{index}")
        outputs = []
        if config["with_pool"] or config["with_nsp"]:
            outputs.append(self._pool(x))
        if config["with_mlm"]:
            if config["target_positions"]:
                inputs.append(keras.Input((None,), dtype="int32", name="Input-Target"))
                gather = layers.GatherPositions(
                    first_counts=config["application"] == "lm",
                    name="MLM-Target",
                    dtype=self.dtype,
                )
                x = gather([x, inputs[-1]])
            outputs.append(self._mlm(x))
        outputs = outputs or [x]
        return inputs, outputs[0] if len(outputs) == 1 else outputs

    def _embed(self, inputs):
        config = self.config
        x = self.token_embedding(inputs[0])
        if config["segment_vocab_size"]:
            segments = self._embedding(config["segment_vocab_size"], "Embedding-Segment")(inputs[1])
            x = self._add([x, segments], "Embedding-Token-Segment")
        x = layers.PositionEmbedding(
            config["max_position"],
            self.embedding_size,
            embeddings_initializer=_initializer(),
            name="Embedding-Position",
            dtype=self.dtype,
        )(x)
        x = self._dropout(self._norm(x, "Embedding-Norm"), "Embedding-Dropout")
        if self.embedding_size != config["hidden_size"]:
            x = self._dense(config["hidden_size"], "Embedding-Mapping")(x)
        return x

    def _transformer(self, x, mask, prefix):
        config = self.config
        name = f"{prefix}-MultiHeadSelfAttention"
        x = self._residual(x, self._attend(x, mask, name), name)
        name = f"{prefix}-FeedForward"
        feed_forward = layers.FeedForward(
            config["intermediate_size"],
            activation=config["hidden_act"],
            kernel_initializer=_initializer(),
            name=name,
            dtype=self.dtype,
        )
        return self._residual(x, feed_forward(x), name)

    def _attend(self, x, mask, name):
        config = self.config
        arguments = {
            "heads": config["num_attention_heads"],
            "head_size": config["attention_head_size"],
            "kernel_initializer": _initializer(),
            "name": name,
            "dtype": self.dtype,
        }
        if config["num_features"]:
            attention = layers.PerformerAttention(
                num_features=config["num_features"],
                causal=config["application"] == "lm",
                seed=int(name.split("-")[1]),
                **arguments,
            )
            return attention(x, mask=keras.ops.squeeze(mask, axis=1))
        attention = layers.MultiHeadAttention(
            dropout=config["attention_dropout_rate"],
            attention_scale=config["attention_scale"],
            train_length=config["train_length"],
            normalizer=config["normalizer"],
            **arguments,
        )
        return attention(x, attention_mask=mask)

    def _residual(self, x, update, name):
        x = self._add([x, self._dropout(update, f"{name}-Dropout")], f"{name}-Add")
        return self._norm(x, f"{name}-Norm")

    def _pool(self, x):
        config = self.config
        with_pool = config["with_pool"]
        activation = "tanh" if not with_pool or with_pool is True else with_pool
        x = layers.FirstToken(name="Pooler", dtype=self.dtype)(x)
        x = self._dense(config["hidden_size"], "Pooler-Dense", activation)(x)
        if config["with_nsp"]:
            # its softmax in float32
            x = keras_layers.Dense(
                2,
                activation="softmax",
                kernel_initializer=_initializer(),
                name="NSP-Proba",
                dtype="float32",
            )(x)
        return x

    def _mlm(self, x):
        config = self.config
        activation = "softmax" if config["with_mlm"] is True else config["with_mlm"]
        x = self._dense(self.embedding_size, "MLM-Dense", config["hidden_act"])(x)
        x = self.token_embedding(self._norm(x, "MLM-Norm"), mode="dense")
        x = layers.BiasAdd(name="MLM-Bias", dtype=self.dtype)(x)
        return keras_layers.Activation(activation, name="MLM-Activation", dtype="float32")(x)

    def _embedding(self, size, name, mask_zero=False):
        return layers.Embedding(
            size,
            self.embedding_size,
            embeddings_initializer=_initializer(),
            mask_zero=mask_zero,
            name=name,
            dtype=self.dtype,
        )

    def _dense(self, units, name, activation=None):
        return keras_layers.Dense(
            units,
            activation=exact_activation(activation),
            kernel_initializer=_initializer(),
            name=name,
            dtype=self.dtype,
        )

    def _norm(self, x, name):
        norm = keras_layers.LayerNormalization(epsilon=1e-12, name=name, dtype=self.dtype)
        return norm(x)

    def _add(self, inputs, name):
        return layers.MaskedAdd(name=name, dtype=self.dtype)(inputs)

    def _dropout(self, x, name):
        if not self.config["dropout_rate"]:
            return x
        return keras_layers.Dropout(self.config["dropout_rate"], name=name, dtype=self.dtype)(x)


def _initializer():
    return keras.initializers.TruncatedNormal(stddev=0.02)
