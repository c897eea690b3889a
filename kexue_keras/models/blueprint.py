"""What families of transformers share: layers by name, parts, and the order that runs them."""

import copy

import keras
from keras import layers as keras_layers

from kexue_keras import layers
from kexue_keras.layers.feed_forward import exact_activation
from kexue_keras.models.blueprint_config import (
    check_config,
    model_of_condition,
    normal_config,
    parameters_of,
)
from kexue_keras.models.blueprint_graph import BlueprintGraph
from kexue_keras.models.family_hooks import FamilyHooks
from kexue_keras.models.hugging_face_family import HuggingFaceFamily


class Blueprint(BlueprintGraph, FamilyHooks, HuggingFaceFamily):
    """The layers of a transformer and their order, which is written once for all uses.

    A plain object, so that Keras tracks the layers once, through the graph. It makes a layer by its
    name on the first run and finds it on later ones. *How to attend* is an argument of `run`: the
    Keras graph, the reading of a prompt, and a step of cached decoding run the same order.

    A family writes `embed`, `block`, `head` and `variable_mapping`; the parts here already know
    conditional layer normalization, positions and dropout. `build_transformer_model(model=Family)`
    makes a Keras model of it, with cached beam search, sampling and checkpoints.

    What `build_transformer_model(return_keras_model=False)` returns is a blueprint too: it has
    bert4keras's `.model`, `.layers` (a dict by name), `.initializer`,
    `.load_weights_from_checkpoint` and `.save_weights_as_checkpoint`.

    Args:
        vocab_size: size of the vocabulary. With `keep_tokens`, of the checkpoint's vocabulary.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: as in
            `bert_config.json`.
        hidden_act: activation of the feed-forward layers; "gelu" is the exact one unless the family
            says otherwise, "gelu_erf" always. A list of two makes gated ones, see `FeedForward`.
        max_position: number of positions; of learned ones that of the embeddings.
        segment_vocab_size: number of segment embeddings; 0: no segments.
        embedding_size: size of the embeddings, `hidden_size` by default.
        attention_head_size: size of a head, `hidden_size / num_attention_heads` by default.
        dropout_rate, attention_dropout_rate: dropout of hidden states and of attention weights.
        application: "encoder" (every token sees all), "lm" (the ones before) or "unilm" (segment 0
            sees itself, segment 1 sees segment 0 and what comes before).
        with_mlm: adds the language model's output; True means probabilities, "linear" logits.
        keep_tokens: ids of the checkpoint's tokens to keep, in the order of the new ids.
        target_positions: adds an input of positions; the language model's output is computed only
            there.
        position: "learned": an embedding of positions; "rotary" or "relative": positions inside
            attention instead, see `MultiHeadAttention`.
        condition_size: size of a condition, one more input `(batch, condition_size)`, the last one,
            on which all layer normalizations depend; None: no condition.
        attention_scale, train_length, normalizer: see `MultiHeadAttention`.
        num_features: number of random features of `PerformerAttention`, in place of softmax
            attention; None keeps the latter.
        epsilon: added to the variance in layer normalization; None: what the family has.
        attention_key_size: size of a head's queries and keys; by default that of its values.
        hierarchical_position: a share (True is 0.4) by which n learned positions make up n ** 2,
            see `PositionEmbedding`: for texts longer than `max_position`.
        custom_position_ids: adds an input of positions, int32 `(batch, length)`, after segments.
        shared_segment_embeddings: the table of tokens embeds segments, too.
        residual_attention_scores: adds to the scores of each attention those of the one before (its
            own ones, as in bert4keras; in RealFormer they accumulate); for "encoder" alone.
        condition_model: a `keras.Model` of the condition, in place of `condition_size`; its inputs
            become the model's last ones.
        layer_norm_cond_hidden_size, layer_norm_cond_hidden_act: of a dense layer between the
            condition and each layer normalization, see `LayerNormalization`.
        compound_tokens: new tokens after the others, each a list of ids, or a pair of ids and
            weights: `load_checkpoint` averages their embeddings. These are ids of this model.
        prefix: what the names of all layers begin with.
        layers: dict of layers of another blueprint, its `.layers`, to be shared. A model read from
            a file has its own.
        dtype: dtype policy of the layers.
    """

    def __init__(
        self,
        vocab_size,
        hidden_size,
        num_hidden_layers,
        num_attention_heads,
        intermediate_size,
        *,
        hidden_act="gelu",
        max_position=512,
        segment_vocab_size=2,
        embedding_size=None,
        attention_head_size=None,
        dropout_rate=0.0,
        attention_dropout_rate=0.0,
        application="encoder",
        with_mlm=False,
        keep_tokens=None,
        target_positions=False,
        position="learned",
        condition_size=None,
        attention_scale="sqrt_dim",
        train_length=512,
        normalizer="softmax",
        num_features=None,
        epsilon=None,
        attention_key_size=None,
        hierarchical_position=None,
        custom_position_ids=False,
        shared_segment_embeddings=False,
        residual_attention_scores=False,
        condition_model=None,
        layer_norm_cond_hidden_size=None,
        layer_norm_cond_hidden_act="linear",
        compound_tokens=None,
        prefix="",
        layers=None,
        dtype=None,
    ):
        given = locals()
        names = set(parameters_of(Blueprint)) - {"dtype", "layers"}
        config = normal_config({name: given[name] for name in given if name in names})
        check_config(config)
        if self.has_position_bias and num_features:
            raise ValueError(
                f"`num_features` must be None for {type(self).__name__}, which has a bias of "
                f"positions. Received: {num_features}"
            )
        self.config = config
        self.epsilon = type(self).epsilon if epsilon is None else epsilon
        self.dtype = keras.dtype_policies.get(dtype)
        self.depth = num_hidden_layers
        self.embedding_size = embedding_size or hidden_size
        self.layers = dict(layers or {})
        self.condition_model = model_of_condition(condition_model)
        self.model = None
        self.sealed = False
        self.condition = None

    @property
    def application(self):
        """ "encoder", "lm" or "unilm"."""
        return self.config["application"]

    @property
    def vocab_size(self):
        """Number of tokens of this model."""
        kept, compound = self.config["keep_tokens"], self.config["compound_tokens"]
        return (self.config["vocab_size"] if kept is None else len(kept)) + len(compound or ())

    @property
    def max_position(self):
        """Number of positions: of hierarchical ones the square of the trained ones."""
        trained = self.config["max_position"]
        return trained**2 if self.config["hierarchical_position"] else trained

    @property
    def initializer(self):
        """A new initializer of kernels and embeddings."""
        return keras.initializers.TruncatedNormal(stddev=0.02)

    @property
    def is_conditional(self):
        """Whether there is a condition."""
        return self.config["condition_size"] is not None or self.condition_model is not None

    def get_config(self):
        """The arguments, without `dtype` and `layers`."""
        return dict(self.config)

    # ---- what a family writes

    def embed(self, inputs, positions):
        """Embeddings `(batch, length, features)` of `inputs`, a dict, see `run`."""
        raise NotImplementedError(f"{type(self).__name__} must have `embed`")

    def block(self, x, index, attend):
        """Hidden states after block `index`."""
        raise NotImplementedError(f"{type(self).__name__} must have `block`")

    def head(self, x):
        """Logits `(..., vocab_size)` of hidden states, the activation left out."""
        raise NotImplementedError(f"{type(self).__name__} must have `head`")

    def transform(self, x):
        """What the head multiplies by the embeddings of tokens, of hidden states."""
        return x

    def index(self, index):
        """Number in the names of the layers of a block; the same for all blocks shares them."""
        return index

    def block_name(self, index):
        """What the names of the layers of a block begin with."""
        return f"Transformer-{self.index(index)}"

    def variable_mapping(self):
        """Layer's name to the names of its variables in Google's format.

        The names are in bert4keras's order (see `bert4keras_weights` of the layers); `Transposed`
        marks a kernel that is stored the other way round. Layers that a model lacks are passed
        over, and so are the last variables of a layer that have no name.
        """
        raise NotImplementedError(f"{type(self).__name__} must have `variable_mapping`")

    # ---- the order

    def run(self, inputs, positions, attend):
        """Hidden states `(batch, length, hidden_size)`.

        Args:
            inputs: dict of `token_ids`, perhaps `segment_ids`, int `(batch, length)`; symbolic or
                not. If there is a condition, this is a method of what `given` returns.
            positions: None for the `position_ids` in `inputs` or, without them, 0, 1, 2, ...; or
                int, broadcastable to `(batch, length)`.
            attend: called as `attend(attention, x, index)`, with the attention layer of a block,
                its input and the number of the block, which is also that of its cache; and with a
                `Memory` where it looks at what an encoder has read.
        """
        positions = inputs.get("position_ids") if positions is None else positions
        x = self.embed(inputs, positions)
        for index in range(self.depth):
            x = self.block(x, index, attend)
        return x

    def given(self, inputs):
        """The same layers and order under the condition in `inputs`, if there is one.

        A blueprint itself keeps no tensor, so that it may be run by several programs at once.
        """
        condition = self.condition_of(inputs)
        if (condition is not None) != self.is_conditional:
            size, received = self.config["condition_size"], "none" if condition is None else "one"
            raise ValueError(f"`condition` must be of size {size}. Received: {received}")
        found = copy.copy(self)
        found.condition = condition
        return found

    # ---- parts

    def layer(self, name, make, initialize=None, **arguments):
        """The layer of that name, made on the first call.

        Args:
            name: its name, without `prefix`.
            make: its class.
            initialize: name of an argument that is to be `initializer`.
            **arguments: of the class.
        """
        if name not in self.layers:
            if self.sealed:
                raise ValueError(f"`model` has no layer {name!r}, which is needed here")
            if initialize is not None:
                arguments[initialize] = self.initializer
            plain = type(self.dtype) is keras.DTypePolicy  # whose name says all, in any config
            dtype = self.dtype.name if plain else self.dtype
            full_name = self.config["prefix"] + name
            self.layers[name] = make(name=full_name, **{"dtype": dtype, **arguments})
        return self.layers[name]

    def norm(self, x, name):
        """Layer normalization, conditional if there is a condition."""
        conditional, arguments = self.is_conditional, dict(self.norm_arguments)
        if conditional and self.config["layer_norm_cond_hidden_size"] is not None:
            arguments["hidden_units"] = self.config["layer_norm_cond_hidden_size"]
            arguments["hidden_activation"] = self.config["layer_norm_cond_hidden_act"]
            arguments["initialize"] = "hidden_initializer"
        arguments.update(epsilon=self.epsilon, conditional=conditional)
        norm = self.layer(name, layers.LayerNormalization, **arguments)
        return norm([x, self.condition] if conditional else x)

    def dense(self, x, units, name, activation=None):
        """A dense layer."""
        return self.layer(
            name,
            keras_layers.Dense,
            "kernel_initializer",
            units=units,
            activation=exact_activation(activation),
            use_bias=self.use_bias,
        )(x)

    def dropout(self, x, name):
        """Dropout of hidden states; no layer where the rate is 0."""
        rate = self.config["dropout_rate"]
        return self.layer(name, keras_layers.Dropout, rate=rate)(x) if rate else x

    def add(self, inputs, name):
        """A sum, with the mask of the first one."""
        return self.layer(name, layers.MaskedAdd)(inputs)

    def residual(self, x, update, name):
        """A sum with what the layer `name` has made, after dropout."""
        return self.add([x, self.dropout(update, f"{name}-Dropout")], f"{name}-Add")

    def pre_norm(self, x, function, name):
        """A sum with what a function makes of x, normalized for it."""
        return self.residual(x, function(self.norm(x, f"{name}-Norm")), name)

    def embedding(self, name, size, **arguments):
        """An embedding layer of `size` rows."""
        sizes = {"input_dim": size, "output_dim": self.embedding_size}
        return self.layer(name, layers.Embedding, "embeddings_initializer", **sizes, **arguments)

    def token_embedding(self):
        """The embedding of tokens, by which the transformer is found again in any model."""
        return self.embedding(
            "Embedding-Token",
            self.vocab_size,
            mask_zero=True,
            blueprint={"family": keras.saving.get_registered_name(type(self)), **self.config},
        )

    def embed_tokens(self, inputs):
        """Embeddings of tokens and, where there are segments, of segments; the former may be in
        `inputs` already."""
        x = inputs.get("token_embeddings")
        x = self.token_embedding()(inputs["token_ids"]) if x is None else x
        if not self.config["segment_vocab_size"]:
            return x
        segments = self.segment_embedding()(inputs["segment_ids"])
        return self.add([x, segments], "Embedding-Token-Segment")

    def segment_embedding(self):
        """The embedding of segments."""
        if self.config["shared_segment_embeddings"]:
            return self.token_embedding()
        return self.embedding("Embedding-Segment", self.config["segment_vocab_size"])

    def add_positions(self, x, positions):
        """Adds the embeddings of positions, where positions are learned."""
        if self.config["position"] != "learned":
            return x
        layer = self.layer(
            "Embedding-Position",
            layers.PositionEmbedding,
            "embeddings_initializer",
            input_dim=self.config["max_position"],
            output_dim=self.embedding_size,
            hierarchical=self.config["hierarchical_position"],
        )
        return layer(x) if positions is None else layer(x, positions=positions)

    def attention(self, index):
        """The attention layer of a block."""
        config, name = self.config, f"{self.block_name(index)}-MultiHeadSelfAttention"
        sizes = {"heads": config["num_attention_heads"], "head_size": config["attention_head_size"]}
        sizes["key_size"] = config["attention_key_size"]
        if config["num_features"]:
            return self.layer(
                name,
                layers.PerformerAttention,
                "kernel_initializer",
                num_features=config["num_features"],
                causal=config["application"] == "lm",
                seed=self.index(index),
                **sizes,
            )
        learned = config["position"] == "learned"
        return self.layer(
            name,
            layers.MultiHeadAttention,
            "kernel_initializer",
            use_bias=self.use_bias,
            dropout=config["attention_dropout_rate"],
            attention_scale=config["attention_scale"],
            train_length=config["train_length"],
            normalizer=config["normalizer"],
            position=None if learned else config["position"],
            return_scores=config["residual_attention_scores"],
            **sizes,
            **self.attention_arguments(),
        )

    def attention_arguments(self):
        """Further arguments of `MultiHeadAttention`."""
        return {}

    def feed_forward(self, x, index):
        """The feed-forward layer of a block."""
        return self.layer(
            f"{self.block_name(index)}-FeedForward",
            layers.FeedForward,
            "kernel_initializer",
            use_bias=self.use_bias,
            units=self.config["intermediate_size"],
            activation=self.hidden_activation,
        )(x)
