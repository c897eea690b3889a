"""What a family of models may state or override, with what holds for BERT."""


class FamilyHooks:
    """The side of a `Blueprint` that tells of what families differ in."""

    epsilon = 1e-12
    """Added to the variance in layer normalization, unless the argument says otherwise."""
    use_bias = True
    """Whether attention, feed-forward and dense layers have biases."""
    norm_arguments = {}
    """More arguments of the layers of normalization."""
    gelu = "gelu"
    """What "gelu" means as `hidden_act`: the exact one, or "gelu_tanh" where the original code has
    the approximation by that name."""
    language_model_activation = "MLM-Activation"
    """Name of the last layer of the language model's output."""
    language_model_layers = ("Embedding-Token", "MLM-Bias")
    """Names of layers without which a model of this family cannot generate."""
    vocabulary_layers = ("Embedding-Token", "MLM-Bias")
    """Names of layers whose variables have a row, or kernels a column, for every token, of which
    some may be kept."""
    has_encoder = False
    """Whether a decoder looks at what an encoder has read: `remember(inputs)` gives the `Memory`,
    and `block` calls `attend` with it as a fourth argument."""
    reads_context = False
    """Whether it is a decoder alone, an input of which is what an encoder has read."""

    @property
    def length_limit(self):
        """Number of tokens of the longest text; None: no limit."""
        return self.max_position if self.config["position"] == "learned" else None

    @property
    def segment_vocab_size(self):
        """Number of segment ids that may be given; 0: there are no segments."""
        own = self.config["segment_vocab_size"]
        return self.vocab_size if own and self.config["shared_segment_embeddings"] else own

    @property
    def hidden_activation(self):
        """`hidden_act`, "gelu" being the one of the original code."""
        given = self.config["hidden_act"]
        names = [given] if isinstance(given, str) or callable(given) else given
        names = [self.gelu if name == "gelu" else name for name in names]
        return names[0] if names[1:] == [] else names

    def position_bias(self, query_positions, key_positions):
        """None; or what all attentions add to their scores, broadcastable to
        `(batch, heads, queries, keys)`, for int positions `(batch, queries)`, `(batch, keys)`."""
        return None

    @property
    def has_position_bias(self):
        """Whether the family adds a bias of positions to the scores of attention."""
        return type(self).position_bias is not FamilyHooks.position_bias

    def memory_bias(self, query_positions, key_positions):
        """The same where it looks at what an encoder has read. In place of the positions of keys
        there may be their states `(batch, keys, features)`."""
        return None

    @property
    def has_memory_bias(self):
        """Whether the family adds a bias where it looks at what an encoder has read."""
        return False
