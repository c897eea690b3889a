"""What families of transformers share: layers by name, parts, and the order that runs them."""

import copy

import keras
from keras import layers as keras_layers

from kexue_keras import layers
from kexue_keras.layers.feed_forward import exact_activation
from kexue_keras.models.blueprint_config import MASK_MODES, check_config, parameters_of
from kexue_keras.models.hugging_face_family import HuggingFaceFamily


class Blueprint(HuggingFaceFamily):
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
        hidden_act: activation of the feed-forward layers; "gelu" is the exact one.
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
        dtype: dtype policy of the layers.
    """

    language_model_layers = ("Embedding-Token", "MLM-Bias")
    """Names of layers without which a model of this family cannot generate."""
    vocabulary_layers = ("Embedding-Token", "MLM-Bias")
    """Names of layers whose variables have a row for every token, of which some may be kept."""
    epsilon = 1e-12
    """Added to the variance in layer normalization, unless the argument says otherwise."""

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
        dtype=None,
    ):
        given = locals()
        names = set(parameters_of(Blueprint)) - {"dtype"}
        config = {name: given[name] for name in given if name in names}
        config["dropout_rate"] = dropout_rate or 0.0
        config["attention_dropout_rate"] = attention_dropout_rate or 0.0
        if keep_tokens is not None:
            config["keep_tokens"] = [int(i) for i in keep_tokens]
        if application != "encoder":
            config["with_mlm"] = with_mlm or True
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
        self.layers = {}
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
        kept = self.config["keep_tokens"]
        return self.config["vocab_size"] if kept is None else len(kept)

    @property
    def initializer(self):
        """A new initializer of kernels and embeddings."""
        return keras.initializers.TruncatedNormal(stddev=0.02)

    def get_config(self):
        """The arguments, without `dtype`."""
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

    def position_bias(self, query_positions, key_positions):
        """None; or what all attentions add to their scores, broadcastable to
        `(batch, heads, queries, keys)`, for int positions `(batch, queries)`, `(batch, keys)`."""
        return None

    @property
    def has_position_bias(self):
        """Whether the family adds a bias of positions to the scores of attention."""
        return type(self).position_bias is not Blueprint.position_bias

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
            positions: None for 0, 1, 2, ...; or int, broadcastable to `(batch, length)`.
            attend: called as `attend(attention, x, index)`, with the attention layer of a block,
                its input and the number of the block, which is also that of its cache.
        """
        x = self.embed(inputs, positions)
        for index in range(self.depth):
            x = self.block(x, index, attend)
        return x

    def given(self, inputs):
        """The same layers and order under the condition in `inputs`, if there is one.

        A blueprint itself keeps no tensor, so that it may be run by several programs at once.
        """
        condition = inputs.get("condition")
        if (condition is None) != (self.config["condition_size"] is None):
            size, received = self.config["condition_size"], "none" if condition is None else "one"
            raise ValueError(f"`condition` must be of size {size}. Received: {received}")
        found = copy.copy(self)
        found.condition = condition
        return found

    # ---- parts

    def layer(self, name, make, initialize=None, **arguments):
        """The layer of that name, made on the first call.

        Args:
            name: its name.
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
            self.layers[name] = make(name=name, **{"dtype": dtype, **arguments})
        return self.layers[name]

    def norm(self, x, name):
        """Layer normalization, conditional if there is a condition."""
        conditional = self.config["condition_size"] is not None
        norm = self.layer(
            name, layers.LayerNormalization, epsilon=self.epsilon, conditional=conditional
        )
        return norm([x, self.condition] if conditional else x)

    def dense(self, x, units, name, activation=None):
        """A dense layer."""
        make, activation = keras_layers.Dense, exact_activation(activation)
        return self.layer(name, make, "kernel_initializer", units=units, activation=activation)(x)

    def dropout(self, x, name):
        """Dropout of hidden states; no layer where the rate is 0."""
        rate = self.config["dropout_rate"]
        return self.layer(name, keras_layers.Dropout, rate=rate)(x) if rate else x

    def add(self, inputs, name):
        """A sum, with the mask of the first one."""
        return self.layer(name, layers.MaskedAdd)(inputs)

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
        segment = self.embedding("Embedding-Segment", self.config["segment_vocab_size"])
        return self.add([x, segment(inputs["segment_ids"])], "Embedding-Token-Segment")

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
        )
        return layer(x) if positions is None else layer(x, positions=positions)

    def attention(self, index):
        """The attention layer of a block."""
        config, number = self.config, self.index(index)
        name = f"Transformer-{number}-MultiHeadSelfAttention"
        sizes = {"heads": config["num_attention_heads"], "head_size": config["attention_head_size"]}
        if config["num_features"]:
            return self.layer(
                name,
                layers.PerformerAttention,
                "kernel_initializer",
                num_features=config["num_features"],
                causal=config["application"] == "lm",
                seed=number,
                **sizes,
            )
        learned = config["position"] == "learned"
        return self.layer(
            name,
            layers.MultiHeadAttention,
            "kernel_initializer",
            dropout=config["attention_dropout_rate"],
            attention_scale=config["attention_scale"],
            train_length=config["train_length"],
            normalizer=config["normalizer"],
            position=None if learned else config["position"],
            **sizes,
        )

    def feed_forward(self, x, index):
        """The feed-forward layer of a block."""
        return self.layer(
            f"Transformer-{self.index(index)}-FeedForward",
            layers.FeedForward,
            "kernel_initializer",
            units=self.config["intermediate_size"],
            activation=self.config["hidden_act"],
        )(x)

    # ---- the graph

    def attention_mask(self, inputs):
        """Who sees whom, `(batch, length or 1, length)`, of symbolic or other `inputs`."""
        # a Performer knows by itself what comes before
        mode = "padding" if self.config["num_features"] else MASK_MODES[self.application]
        mask = self.layer("Attention-Mask", layers.AttentionMask, mode=mode, dtype=None)
        return mask(*(inputs[n] for n in ("token_ids", "segment_ids")[: 1 + (mode == "unilm")]))

    def inputs(self):
        """Symbolic inputs by name, in their order."""
        found = {"token_ids": keras.Input((None,), dtype="int32", name="Input-Token")}
        if self.config["segment_vocab_size"]:
            found["segment_ids"] = keras.Input((None,), dtype="int32", name="Input-Segment")
        if self.config["target_positions"]:
            found["targets"] = keras.Input((None,), dtype="int32", name="Input-Target")
        if self.config["condition_size"] is not None:
            size = self.config["condition_size"]
            found["condition"] = keras.Input((size,), name="Input-Condition")
        return found

    def outputs(self, x, inputs):
        """List of a model's outputs, of the hidden states `x`."""
        if not self.config["with_mlm"]:
            return [x]
        if "targets" in inputs:
            first_counts = self.application == "lm"
            gather = self.layer("MLM-Target", layers.GatherPositions, first_counts=first_counts)
            x = gather([x, inputs["targets"]])
        activation = "softmax" if self.config["with_mlm"] is True else self.config["with_mlm"]
        activate = self.layer(
            "MLM-Activation", keras_layers.Activation, activation=activation, dtype="float32"
        )
        return [activate(self.head(x))]

    # ---- bert4keras's interface

    def load_weights_from_checkpoint(self, path):
        """See `kexue_keras.models.load_checkpoint`."""
        from kexue_keras.models.checkpoints.storage import load_checkpoint

        load_checkpoint(self.model, path)

    def save_weights_as_checkpoint(self, path):
        """See `kexue_keras.models.save_checkpoint`."""
        from kexue_keras.models.checkpoints.storage import save_checkpoint

        save_checkpoint(self.model, path)
