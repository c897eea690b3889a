"""The one door to every model: bert4keras's `build_transformer_model`."""

import inspect
import json

from kexue_keras.models.bert import Bert
from kexue_keras.models.checkpoints.google import load_checkpoint

_MODELS = {"bert": Bert, "roberta": Bert}
_KERAS_ARGUMENTS = ("name", "dtype")
_CONFIG_NAMES = {
    "max_position_embeddings": "max_position",
    "hidden_dropout_prob": "dropout_rate",
    "attention_probs_dropout_prob": "attention_dropout_rate",
    "type_vocab_size": "segment_vocab_size",
}


def build_transformer_model(
    config_path=None,
    checkpoint_path=None,
    model="bert",
    application="encoder",
    with_pool=False,
    with_mlm=False,
    keep_tokens=None,
    return_keras_model=True,
    **config,
):
    """Builds a transformer from its configuration and, optionally, loads a checkpoint.

    Args:
        config_path: path of a `bert_config.json`. Entries that no model needs are passed over.
        checkpoint_path: path of a checkpoint in Google's TensorFlow format (the common prefix of
            its files, as `bert_model.ckpt`), or `.npz`. See `load_checkpoint`.
        model: "bert" or "roberta" (the same architecture).
        application: "encoder", "lm" or "unilm".
        with_pool: adds the pooled output: True (tanh) or the name of an activation.
        with_mlm: adds the masked-LM output: True (probabilities) or "linear" (logits).
        keep_tokens: ids of the tokens to keep, as `load_vocab(simplified=True)` returns them.
        return_keras_model: kept for bert4keras programs. The result is always a Keras model.
        **config: entries of the configuration, added to or in place of those of `config_path`.

    Returns:
        A `keras.Model` with inputs `[token_ids, segment_ids]`, int32 `(batch, length)`.

    Raises:
        ValueError: an argument is unknown, missing, or not supported.
        CheckpointError: the checkpoint does not fit the model.

    Example:

    >>> from kexue_keras.models import build_transformer_model
    >>> model = build_transformer_model(vocab_size=20, hidden_size=8, num_hidden_layers=1,
    ...     num_attention_heads=2, intermediate_size=16, hidden_act="gelu", with_mlm="linear")
    >>> model.output.shape
    (None, None, 20)
    """
    if model not in _MODELS:
        raise ValueError(f"`model` must be one of {tuple(_MODELS)}. Received: {model!r}")
    model_class = _MODELS[model]
    signature = inspect.signature(model_class.__init__).parameters
    known = [name for name, p in signature.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    arguments = {} if config_path is None else _read_config(config_path)
    arguments = {_CONFIG_NAMES.get(k, k): v for k, v in arguments.items()}
    # name and dtype in a configuration file are those of another library
    arguments = {k: v for k, v in arguments.items() if k in known[1:] and k not in _KERAS_ARGUMENTS}
    for name, value in config.items():
        name = _CONFIG_NAMES.get(name, name)
        if name not in known[1:]:
            raise ValueError(
                f"{model_class.__name__} has no argument `{name}`. Received: {name}={value!r}"
            )
        arguments[name] = value
    required = [n for n in known[1:] if signature[n].default is inspect.Parameter.empty]
    missing = [name for name in required if name not in arguments]
    if missing:
        raise ValueError(
            f"`{missing[0]}` is needed, in `config_path` or as an argument. "
            f"Received: config_path={config_path!r}"
        )
    arguments.update(
        application=application, with_pool=with_pool, with_mlm=with_mlm, keep_tokens=keep_tokens
    )
    transformer = model_class(**arguments)
    if checkpoint_path is not None:
        load_checkpoint(transformer, checkpoint_path)
    return transformer


def _read_config(path):
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except ValueError as error:
        raise ValueError(f"`config_path` {path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(
            f"`config_path` {path} must hold a JSON object. Received: {type(config).__name__}"
        )
    return config
