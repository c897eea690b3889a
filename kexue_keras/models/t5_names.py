"""What T5 is called in other formats: variables and configuration."""

from kexue_keras.models.checkpoints.names import Either, Transposed

_GATED = ("t5.1.1", "mt5.1.1")
_SUBLAYERS = {
    "Encoder": {"MultiHeadSelfAttention": "SelfAttention", "FeedForward": "DenseReluDense"},
    "Decoder": {
        "MultiHeadSelfAttention": "SelfAttention",
        "MultiHeadCrossAttention": "EncDecAttention",
        "FeedForward": "DenseReluDense",
    },
}
_DEFAULTS = {
    "t5": {
        "vocab_size": 32128,
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 6,
        "num_heads": 8,
        "feed_forward_proj": "relu",
        "tie_word_embeddings": True,
    },
    "mt5": {
        "vocab_size": 250112,
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 1024,
        "num_layers": 8,
        "num_heads": 6,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    },
}
_COMMON = {
    "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
}


def _blocks(config, decoder_depth):
    """Our stack, number of a block, number of a sublayer in it, our name and theirs."""
    for stack, sublayers in _SUBLAYERS.items():
        depth = decoder_depth if stack == "Decoder" else config["num_hidden_layers"]
        for index in range(depth):
            for number, (ours, theirs) in enumerate(sublayers.items()):
                yield stack, index, number, f"{stack}-Transformer-{index}-{ours}", theirs


def _kernels(config, theirs):
    """Names of the kernels of a sublayer, in bert4keras's order."""
    if theirs != "DenseReluDense":
        return list("qkvo")
    return ["wi_0", "wi_1", "wo"] if config["version"] in _GATED else ["wi", "wo"]


def google(config, decoder_depth):
    """Layer's name to names of variables in Google's format.

    Args:
        config: dict of a `T5Blueprint`.
        decoder_depth: number of the decoder's blocks.

    Example:

    >>> from kexue_keras.models import t5_names
    >>> names = t5_names.google({"version": "t5.1.0", "num_hidden_layers": 1}, 1)
    >>> names["Encoder-Transformer-0-FeedForward"][0]
    'encoder/block_000/layer_001/DenseReluDense/wi/kernel'
    """
    norms = ("layer_norm", "rms_norm")  # Google's are of either name
    norm, other = norms[::-1] if config["version"] == "mt5.1.1" else norms
    last, last_other = (n.replace("layer", "final_layer") for n in (norm, other))
    mapping = {"Embedding-Token": ["shared/embedding"]}
    for stack, index, number, ours, theirs in _blocks(config, decoder_depth):
        place = f"{stack.lower()}/block_{index:03d}/layer_{number:03d}"
        ending = "/kernel" if theirs == "DenseReluDense" else ""
        kernels = _kernels(config, theirs)
        mapping[ours] = [f"{place}/{theirs}/{kernel}{ending}" for kernel in kernels]
        mapping[f"{ours}-Norm"] = [Either(f"{place}/{norm}/scale", f"{place}/{other}/scale")]
    for stack in _SUBLAYERS:
        place = stack.lower()
        bias = f"{place}/block_000/layer_000/SelfAttention/relative_attention_bias"
        mapping[f"{stack}-Embedding-Relative-Position"] = [Transposed(bias)]
        name = Either(f"{place}/{last}/scale", f"{place}/{last_other}/scale")
        mapping[f"{stack}-Output-Norm"] = [name]
    if config["version"] in _GATED:
        mapping["Decoder-Output-LM"] = ["decoder/logits/kernel"]
    return mapping


def hugging_face(config, decoder_depth):
    """Layer's name to names of variables in Hugging Face's format; see `google`.

    Example:

    >>> from kexue_keras.models import t5_names
    >>> names = t5_names.hugging_face({"version": "t5.1.1", "num_hidden_layers": 1}, 1)
    >>> names["Decoder-Output-LM"]
    ['lm_head.weight']
    """
    tokens = Either("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    mapping = {"Embedding-Token": [tokens]}
    for stack, index, number, ours, theirs in _blocks(config, decoder_depth):
        place = f"{stack.lower()}.block.{index}.layer.{number}"
        kernels = _kernels(config, theirs)
        mapping[ours] = [Transposed(f"{place}.{theirs}.{kernel}.weight") for kernel in kernels]
        mapping[f"{ours}-Norm"] = [f"{place}.layer_norm.weight"]
    for stack in _SUBLAYERS:
        place = stack.lower()
        bias = f"{place}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        mapping[f"{stack}-Embedding-Relative-Position"] = [bias]
        mapping[f"{stack}-Output-Norm"] = [f"{place}.final_layer_norm.weight"]
    if config["version"] in _GATED:
        # of tied weights there may be one copy
        mapping["Decoder-Output-LM"] = [Transposed(Either("lm_head.weight", *_names(tokens)))]
    return mapping


def _names(either):
    return [str(either), *either.others]


def from_hugging_face(config):
    """Our arguments of a `config.json`, which need not have all keys.

    Example:

    >>> from kexue_keras.models import t5_names
    >>> found = t5_names.from_hugging_face({"model_type": "mt5"})
    >>> found["version"], found["hidden_act"], found["num_hidden_layers"]
    ('mt5.1.1', ['gelu', 'linear'], 8)
    """
    kind = config.get("model_type", "t5")
    config = {**_COMMON, **_DEFAULTS.get(kind, _DEFAULTS["t5"]), **config}
    for name in ("relative_attention_num_buckets", "relative_attention_max_distance"):
        if config[name] != _COMMON[name]:
            raise ValueError(
                f"`{name}` in config.json must be {_COMMON[name]}. Received: {config[name]}"
            )
    gate, _, activation = config["feed_forward_proj"].rpartition("-")
    # the gated one is the approximation there too
    activation = "gelu_erf" if activation == "gelu" and not gate else activation
    tied = config["tie_word_embeddings"]
    if not gate and not tied:
        raise ValueError(
            "`tie_word_embeddings` in config.json must be true where `feed_forward_proj` has no "
            f"gate. Received: {tied}"
        )
    return {
        "version": ("mt5.1.1" if kind == "mt5" else "t5.1.1") if gate else "t5.1.0",
        "vocab_size": config["vocab_size"],
        "hidden_size": config["d_model"],
        "num_hidden_layers": config["num_layers"],
        "num_decoder_layers": config.get("num_decoder_layers"),
        "num_attention_heads": config["num_heads"],
        "attention_head_size": config["d_kv"],
        "intermediate_size": config["d_ff"],
        "hidden_act": [activation, "linear"] if gate else activation,
        "dropout_rate": config["dropout_rate"],
        "attention_dropout_rate": config["dropout_rate"],
        "scale_output": tied,
        "epsilon": config["layer_norm_epsilon"],
    }


def to_hugging_face(config, vocab_size, epsilon):
    """What to write into `config.json`; see `google` for `config`.

    Raises:
        ValueError: the model has what Hugging Face's has not.
    """
    gated = isinstance(config["hidden_act"], list)
    if config["cross_position_bias"]:
        raise ValueError(
            "`cross_position_bias` must be False in Hugging Face's format. Received: True"
        )
    scaled = config["scale_output"]
    activation = config["hidden_act"][0] if gated else config["hidden_act"]
    activation = {"gelu_erf": "gelu", "gelu_tanh": "gelu"}.get(activation, activation)
    return {
        "model_type": "mt5" if config["version"] == "mt5.1.1" else "t5",
        "is_encoder_decoder": True,
        "vocab_size": vocab_size,
        "d_model": config["hidden_size"],
        "d_kv": config["attention_head_size"]
        or config["hidden_size"] // config["num_attention_heads"],
        "d_ff": config["intermediate_size"],
        "num_layers": config["num_hidden_layers"],
        "num_decoder_layers": config["num_decoder_layers"] or config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "feed_forward_proj": f"gated-{activation}" if gated else activation,
        "dropout_rate": config["dropout_rate"],
        "layer_norm_epsilon": epsilon,
        "tie_word_embeddings": not gated if scaled is None else scaled,
        "relative_attention_num_buckets": _COMMON["relative_attention_num_buckets"],
        "relative_attention_max_distance": _COMMON["relative_attention_max_distance"],
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }
