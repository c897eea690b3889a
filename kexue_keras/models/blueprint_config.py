"""The arguments of a blueprint: their names, and which go together."""

import inspect

MASK_MODES = {"encoder": "padding", "lm": "causal", "unilm": "unilm"}
POSITIONS = ("learned", "rotary", "relative")


def parameters_of(family):
    """The arguments of a class and of its bases, name to `inspect.Parameter`.

    A family of models names its own arguments and hands the others on.

    Example:

    >>> class Small:
    ...     def __init__(self, size): ...
    >>> class Large(Small):
    ...     def __init__(self, *args, depth=2, **kwargs): ...
    >>> list(parameters_of(Large))
    ['size', 'depth']
    """
    found = {}
    for cls in reversed(family.__mro__[:-1]):
        if "__init__" in vars(cls):
            found.update(inspect.signature(cls.__init__).parameters)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: p for n, p in found.items() if p.kind in named and n != "self"}


def check_config(config):
    """Refuses arguments of a blueprint that do not go together."""
    application = config["application"]
    if application not in MASK_MODES:
        raise ValueError(
            f"`application` must be one of {tuple(MASK_MODES)}. Received: {application!r}"
        )
    if application == "unilm" and config["segment_vocab_size"] < 2:
        raise ValueError(
            '`segment_vocab_size` must be at least 2 for "unilm". '
            f"Received: {config['segment_vocab_size']}"
        )
    heads = config["num_attention_heads"]
    for name in ("num_attention_heads", "num_hidden_layers", "condition_size"):
        if config[name] is not None and config[name] < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {config[name]}")
    if config["attention_head_size"] is None and config["hidden_size"] % heads:
        raise ValueError(
            f"`num_attention_heads` must divide `hidden_size` {config['hidden_size']}. "
            f"Received: {heads}"
        )
    kept = config["keep_tokens"]
    if kept is not None:
        if not kept:
            raise ValueError("`keep_tokens` must not be empty. Received: []")
        wrong = [i for i in kept if not 0 <= i < config["vocab_size"]]
        if wrong:
            raise ValueError(
                f"`keep_tokens` must be ids below `vocab_size` {config['vocab_size']}. "
                f"Received: {wrong[0]}"
            )
    if config["position"] not in POSITIONS:
        raise ValueError(f"`position` must be one of {POSITIONS}. Received: {config['position']!r}")
    size = config["attention_head_size"] or config["hidden_size"] // heads
    if config["position"] != "learned" and size % 2:
        raise ValueError(
            f"`attention_head_size` must be even with position {config['position']!r}. "
            f"Received: {size}"
        )
    if config["num_features"] is not None:
        _check_performer(config)
    if config["target_positions"] and not config["with_mlm"]:
        raise ValueError("`target_positions` needs `with_mlm`. Received: with_mlm=False")


def _check_performer(config):
    if config["num_features"] < 1:
        raise ValueError(f"`num_features` must be at least 1. Received: {config['num_features']}")
    if config["application"] == "unilm":
        raise ValueError(
            f'`num_features` must be None for "unilm". Received: {config["num_features"]}'
        )
    if (config["attention_scale"], config["normalizer"]) != ("sqrt_dim", "softmax"):
        raise ValueError(
            "`attention_scale` and `normalizer` must be left out with `num_features`. "
            f"Received: {config['attention_scale']!r} and {config['normalizer']!r}"
        )
    if config["position"] != "learned":
        raise ValueError(
            f'`position` must be "learned" with `num_features`. Received: {config["position"]!r}'
        )
