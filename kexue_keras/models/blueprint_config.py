"""The arguments of a blueprint: their names, and which go together."""

import copy
import inspect

import keras
import numpy as np

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


def normal_config(config):
    """The arguments as they are kept: JSON can store all of them.

    Example:

    >>> config = {"application": "lm", "with_mlm": False, "dropout_rate": None, "prefix": None,
    ...     "attention_dropout_rate": 0.1, "hierarchical_position": True, "keep_tokens": None,
    ...     "compound_tokens": [[1, 2], ([3, 4], [0.5, 1.5])], "condition_model": None}
    >>> found = normal_config(config)
    >>> found["with_mlm"], found["hierarchical_position"], found["compound_tokens"]
    (True, 0.4, [[[1, 2], [1.0, 1.0]], [[3, 4], [0.5, 1.5]]])
    """
    config = dict(config, prefix=config["prefix"] or "")
    for name in ("dropout_rate", "attention_dropout_rate"):
        config[name] = config[name] or 0.0
    if config["application"] != "encoder":
        config["with_mlm"] = config["with_mlm"] or True
    if config["keep_tokens"] is not None:
        config["keep_tokens"] = [int(i) for i in config["keep_tokens"]]
    if config["hierarchical_position"] is True:
        config["hierarchical_position"] = 0.4
    config["hierarchical_position"] = config["hierarchical_position"] or None
    if config["compound_tokens"] is not None:
        config["compound_tokens"] = [_compound(item) for item in config["compound_tokens"]]
    if isinstance(config["condition_model"], keras.Model):
        config["condition_model"] = keras.saving.serialize_keras_object(config["condition_model"])
    return config


def _compound(item):
    """Ids and weights."""
    numbers = all(isinstance(i, (int, np.integer)) for i in item)
    ids, weights = (item, [1] * len(item)) if numbers else item
    if not len(ids) or len(ids) != len(weights) or not sum(weights):
        raise ValueError(
            "`compound_tokens` must be lists of ids, or pairs of ids and as many weights, whose "
            f"sum is not 0. Received: {item!r}"
        )
    return [[int(i) for i in ids], [float(w) for w in weights]]


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
    _check_new_tokens(config)
    if config["residual_attention_scores"] and application != "encoder":
        raise ValueError(
            "`residual_attention_scores` must be False but for an encoder, where scores of several "
            f"blocks are at hand. Received: True with application {application!r}"
        )
    if config["condition_model"] is not None and config["condition_size"] is not None:
        raise ValueError(
            f"`condition_size` must be None with `condition_model`. "
            f"Received: {config['condition_size']}"
        )
    if config["position"] not in POSITIONS:
        raise ValueError(f"`position` must be one of {POSITIONS}. Received: {config['position']!r}")
    size = config["attention_key_size"] or config["attention_head_size"]
    size = size or config["hidden_size"] // heads
    if config["position"] != "learned" and size % 2:
        raise ValueError(
            f"`attention_head_size` must be even with position {config['position']!r}. "
            f"Received: {size}"
        )
    if config["num_features"] is not None:
        _check_performer(config)
    if config["target_positions"] and not config["with_mlm"]:
        raise ValueError("`target_positions` needs `with_mlm`. Received: with_mlm=False")


def _check_new_tokens(config):
    kept = config["keep_tokens"]
    known = config["vocab_size"] if kept is None else len(kept)
    for ids, _ in config["compound_tokens"] or ():
        if not all(0 <= i < known for i in ids):
            raise ValueError(
                f"`compound_tokens` must be of ids below {known}, the tokens without them. "
                f"Received: {ids}"
            )


def _check_performer(config):
    if config["num_features"] < 1:
        raise ValueError(f"`num_features` must be at least 1. Received: {config['num_features']}")
    if config["residual_attention_scores"]:
        raise ValueError(
            "`residual_attention_scores` must be False with `num_features`, which "
            "computes no scores. Received: True"
        )
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


def model_of_condition(given):
    """The Keras model of a condition, from its configuration if it comes as that."""
    if not isinstance(given, dict):
        return given
    return keras.saving.deserialize_keras_object(copy.deepcopy(given))  # which it empties
