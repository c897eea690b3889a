"""What a family of models says of Hugging Face's files: names, prefixes, configuration."""

from kexue_keras.models.blueprint_config import parameters_of

_RENAMED = {
    "max_position_embeddings": "max_position",
    "type_vocab_size": "segment_vocab_size",
    "hidden_dropout_prob": "dropout_rate",
    "attention_probs_dropout_prob": "attention_dropout_rate",
}
_SAME = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "embedding_size",
)
_BERT = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
}
# the exact one is "gelu" here as there
# arguments that say how a model is used, not what its weights mean
_USES = {"application", "condition_size", "dtype", "keep_tokens", "target_positions"}
_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}


class HuggingFaceFamily:
    """The side of a `Blueprint` that knows `config.json` and `model.safetensors`.

    A family that has such files writes `hugging_face_mapping`, the attributes, and, if its keys are
    not BERT's, `from_hugging_face` and `to_hugging_face`.
    """

    hugging_face_type = None
    """The `model_type` in `config.json`, which is written; None: no such files."""
    hugging_face_prefixes = ("",)
    """What may stand before the names of the base model; the first one is written."""
    hugging_face_heads = (
        "cls.",
        "classifier.",
        "discriminator_predictions.",
        "generator_lm_head.",
        "generator_predictions.",
        "lm_head.",
        "predictions.",
        "sop_classifier.",
    )
    """Beginnings of the names that are not in the base model and have no prefix."""
    hugging_face_defaults = _BERT
    """What `transformers` takes for a key that `config.json` lacks; BERT's, if not written."""
    hugging_face_arguments = (*_SAME, *_RENAMED.values(), "epsilon", "attention_head_size")
    """Our arguments that `to_hugging_face` says; others must have their default values."""
    hugging_face_fixed = {}
    """Our arguments to which the family itself gives other values than the default ones."""

    def hugging_face_mapping(self):
        """Layer's name to the names of its variables in `model.safetensors`.

        The names are in bert4keras's order, those of the base model without prefix; see
        `kexue_keras.models.checkpoints.names` for kernels that are stored the other way round and
        the like. Layers that a model lacks are passed over.
        """
        raise NotImplementedError(f"{type(self).__name__} has no names in Hugging Face's format")

    @classmethod
    def from_hugging_face(cls, config):
        """Our arguments of a `config.json` of Hugging Face.

        Args:
            config: dict with its keys; for those that it lacks `hugging_face_defaults` hold.
        """
        config = {**cls.hugging_face_defaults, **config}
        found = {name: config[name] for name in _SAME if name in config}
        found |= {ours: config[theirs] for theirs, ours in _RENAMED.items() if theirs in config}
        found["hidden_act"] = _ACTIVATIONS.get(found["hidden_act"], found["hidden_act"])
        return {**found, "epsilon": config["layer_norm_eps"]}

    def to_hugging_face(self):
        """What to write into `config.json` for this model, a dict.

        Raises:
            ValueError: the model has something that the family of Hugging Face has not.
        """
        config = self.config
        self._check_arguments()
        found = {"model_type": self.hugging_face_type, "layer_norm_eps": self.epsilon}
        found |= {name: config[name] for name in _SAME if config.get(name) is not None}
        found |= {theirs: config[ours] for theirs, ours in _RENAMED.items()}
        if found["hidden_act"] == "gelu_tanh":
            found["hidden_act"] = "gelu_new"
        return found | {"vocab_size": self.vocab_size, "pad_token_id": 0}

    @property
    def keeps_all_tokens(self):
        """Whether the model has the whole vocabulary of `keep_tokens`, in another order."""
        kept, size = self.config["keep_tokens"], self.config["vocab_size"]
        return kept is not None and sorted(kept) == list(range(size))

    def _check_arguments(self):
        config, fixed = self.config, self.hugging_face_fixed
        for name, parameter in parameters_of(type(self)).items():
            if name in _USES or name.startswith("with_") or name in self.hugging_face_arguments:
                continue
            expected = fixed.get(name, parameter.default)
            if name in config and config[name] != expected:
                raise ValueError(
                    f"`{name}` must be {expected!r} in Hugging Face's format of "
                    f"{self.hugging_face_type!r}. Received: {config[name]!r}"
                )
        size = config["hidden_size"] // config["num_attention_heads"]
        if config["attention_head_size"] not in (None, size):
            raise ValueError(
                f"`attention_head_size` must be {size}, `hidden_size / num_attention_heads`, in "
                f"Hugging Face's format. Received: {config['attention_head_size']}"
            )
