"""T5 1.0, T5 1.1, mT5 and T5-PEGASUS, with bert4keras's layer names."""

import copy

import keras
from keras import layers as keras_layers

from kexue_keras import layers
from kexue_keras.models import t5_names
from kexue_keras.models.blueprint import Blueprint
from kexue_keras.models.graph_attention import GraphAttention, Memory

_NOT_HERE = (
    "custom_position_ids",
    "hierarchical_position",
    "residual_attention_scores",
    "shared_segment_embeddings",
)
VERSIONS = ("t5.1.0", "t5.1.1", "mt5.1.1")


@keras.saving.register_keras_serializable(package="kexue_keras")
class T5Blueprint(Blueprint):
    """The layers of T5, encoder and decoder, and their order.

    Inputs of the model: the encoder's token ids and the decoder's, which begin with 0 (T5-PEGASUS:
    with [CLS]); padding, on the right, is 0. "gelu" is the original's: the approximation by tanh;
    "gelu_erf" the exact one.

    Args:
        version: "t5.1.0"; or "t5.1.1" and "mt5.1.1", which have gated feed-forward layers and an
            output matrix of their own, and differ in the names of their norms alone.
        hidden_act: by default "relu", and ["gelu", "linear"] from 1.1 on.
        with_lm: whether the decoder ends with the language model's output: True means
            probabilities, "linear" logits. `with_mlm` must be left out.
        cross_position_bias: whether the decoder's bias of positions also counts when it looks at
            the encoder. T5 and mT5 have none there; bert4keras has it by default, and T5-PEGASUS
            was trained with it.
        scale_output: whether the decoder's hidden states are divided by the square root of
            `hidden_size` at last. By default, as the models were trained: with "t5.1.0" and with
            `cross_position_bias`.
        num_decoder_layers: number of the decoder's blocks, by default `num_hidden_layers`.
        *args, **kwargs: see `Blueprint`; there are no segments and no limit of length.

    Reference: Raffel et al. 2019, https://arxiv.org/abs/1910.10683; https://kexue.fm/archives/7867;
    T5-PEGASUS: https://kexue.fm/archives/8209
    """

    epsilon = 1e-6
    gelu = "gelu_tanh"
    use_bias = False
    norm_arguments = {"zero_mean": False, "center": False}
    has_encoder = True
    stack = "Decoder"
    """What the names of layers begin with in what runs now."""
    language_model_activation = "Decoder-Output-LM-Activation"
    vocabulary_layers = ("Embedding-Token", "Decoder-Output-LM")
    hugging_face_type = "t5"
    hugging_face_other_types = ("mt5",)

    def __init__(
        self,
        *args,
        version="t5.1.0",
        hidden_act=None,
        with_mlm=False,
        with_lm=True,
        cross_position_bias=False,
        scale_output=None,
        num_decoder_layers=None,
        application="encoder",
        attention_scale="none",
        segment_vocab_size=0,
        **kwargs,
    ):
        if version not in VERSIONS:
            raise ValueError(f"`version` must be one of {VERSIONS}. Received: {version!r}")
        if application != "encoder":
            raise ValueError(
                "`application` must be left out for T5, whose decoder is a language model. "
                f"Received: {application!r}"
            )
        if with_mlm not in (False, with_lm):
            raise ValueError(
                "`with_mlm` must be left out for T5, which has `with_lm`. "
                f"Received: with_mlm={with_mlm!r}"
            )
        if hidden_act is None:
            hidden_act = "relu" if version == "t5.1.0" else ["gelu", "linear"]
        super().__init__(
            *args,
            hidden_act=hidden_act,
            with_mlm=with_lm,
            attention_scale=attention_scale,
            segment_vocab_size=0,
            **kwargs,
        )
        if self.config["position"] != "learned":
            raise ValueError(
                "`position` must be left out for T5, which has a bias of positions. "
                f"Received: {self.config['position']!r}"
            )
        for name in _NOT_HERE:
            if self.config[name]:
                raise ValueError(
                    f"`{name}` must be left out for T5. Received: {self.config[name]!r}"
                )
        if self.embedding_size != self.config["hidden_size"]:
            raise ValueError(
                f"`embedding_size` must be `hidden_size` {self.config['hidden_size']} for T5. "
                f"Received: {self.embedding_size}"
            )
        self.config.update(
            version=version,
            with_lm=with_lm,
            cross_position_bias=cross_position_bias,
            scale_output=scale_output,
            num_decoder_layers=num_decoder_layers,
        )
        self.depth = num_decoder_layers or self.depth

    @property
    def application(self):
        """ "lm": the decoder sees what comes before."""
        return "lm"

    @property
    def language_model_layers(self):
        own = () if self.config["version"] == "t5.1.0" else ("Decoder-Output-LM",)
        return ("Embedding-Token", "Decoder-Output-Norm", *own)

    @property
    def length_limit(self):
        return None

    @property
    def has_memory_bias(self):
        return self.config["cross_position_bias"]

    @property
    def scales_output(self):
        """Whether the decoder's hidden states are divided by the root of their size."""
        given = self.config["scale_output"]
        by_default = self.config["version"] == "t5.1.0" or self.config["cross_position_bias"]
        return by_default if given is None else given

    # ---- the order

    def run(self, inputs, positions, attend):
        memory = self.remember(inputs)
        x = self.embed(inputs, positions)
        for index in range(self.depth):
            x = self.block(x, index, attend, memory)
        x = self.dropout(self.norm(x, f"{self.stack}-Output-Norm"), f"{self.stack}-Output-Dropout")
        if self.stack == "Decoder" and self.scales_output:
            scale = self.config["hidden_size"] ** -0.5
            x = self.layer("Decoder-Output-Scale", keras_layers.Rescaling, scale=scale)(x)
        return x

    def remember(self, inputs):
        """The `Memory` for the decoder; None in the encoder."""
        if self.stack == "Encoder":
            return None
        if "memory" in inputs:
            return inputs["memory"]
        encoder = copy.copy(self)
        encoder.stack, encoder.depth = "Encoder", self.config["num_hidden_layers"]
        source = {"token_ids": inputs["source_ids"]}
        attend = GraphAttention(encoder, source)
        return Memory(encoder.run(source, None, attend), attend.arguments["attention_mask"])

    def embed(self, inputs, positions):
        return self.dropout(self.embed_tokens(inputs), f"{self.stack}-Embedding-Dropout")

    def block(self, x, index, attend, memory=None):
        def look_back(x):
            return attend(self.attention(index), x, index)

        def look_across(x):
            return attend(self.cross_attention(index), x, index, memory)

        name = self.block_name(index)
        x = self.pre_norm(x, look_back, f"{name}-MultiHeadSelfAttention")
        if memory is not None:
            x = self.pre_norm(x, look_across, f"{name}-MultiHeadCrossAttention")
        return self.pre_norm(x, lambda x: self.feed_forward(x, index), f"{name}-FeedForward")

    def head(self, x):
        if self.config["version"] == "t5.1.0":
            return self.token_embedding()(x, mode="dense")
        return self.dense(x, self.vocab_size, "Decoder-Output-LM")

    # ---- parts

    def block_name(self, index):
        return f"{self.stack}-Transformer-{index}"

    def cross_attention(self, index):
        """The attention layer by which a block of the decoder looks at the encoder."""
        return self.layer(
            f"{self.block_name(index)}-MultiHeadCrossAttention",
            layers.MultiHeadAttention,
            "kernel_initializer",
            heads=self.config["num_attention_heads"],
            head_size=self.config["attention_head_size"],
            key_size=self.config["attention_key_size"],
            use_bias=False,
            dropout=self.config["attention_dropout_rate"],
            attention_scale=self.config["attention_scale"],
        )

    def position_bias(self, query_positions, key_positions):
        table = self.layer(
            f"{self.stack}-Embedding-Relative-Position",
            layers.RelativePositionEmbeddingT5,
            "embeddings_initializer",
            input_dim=32,
            output_dim=self.config["num_attention_heads"],
            bidirectional=self.stack == "Encoder",
        )
        return table(query_positions, key_positions)

    def memory_bias(self, query_positions, key_positions):
        return self.position_bias(query_positions, key_positions) if self.has_memory_bias else None

    def attention_mask(self, inputs):
        mode = "padding" if self.stack == "Encoder" else "causal"
        name = f"{self.stack}-Attention-Mask"
        return self.layer(name, layers.AttentionMask, mode=mode, dtype=None)(inputs["token_ids"])

    def inputs(self):
        found = super().inputs()
        names = {"source_ids": "Encoder-Input-Token", "token_ids": "Decoder-Input-Token"}
        names = {key: self.config["prefix"] + name for key, name in names.items()}
        tokens = {key: keras.Input((None,), dtype="int32", name=n) for key, n in names.items()}
        return {**tokens, **{key: x for key, x in found.items() if key not in tokens}}

    # ---- names in files

    def variable_mapping(self):
        return t5_names.google(self.config, self.depth)

    def hugging_face_mapping(self):
        return t5_names.hugging_face(self.config, self.depth)

    @classmethod
    def from_hugging_face(cls, config):
        return t5_names.from_hugging_face(config)

    def to_hugging_face(self):
        return t5_names.to_hugging_face(self.config, self.vocab_size, self.epsilon)

    # ---- bert4keras's interface

    @property
    def encoder(self):
        """The encoder as a model of its own, with the same layers."""
        from kexue_keras.models.t5_encoder import T5EncoderBlueprint

        return self._part(T5EncoderBlueprint, target_positions=False)

    @property
    def decoder(self):
        """The decoder as a model of its own, with the same layers."""
        from kexue_keras.models.t5_decoder import T5DecoderBlueprint

        return self._part(T5DecoderBlueprint)

    def _part(self, family, **changes):
        from kexue_keras.models.transformer import Transformer

        config = {**self.config, "with_mlm": False, **changes}
        part = family(**config, dtype=self.dtype)
        part.layers = self.layers
        return Transformer(part)
