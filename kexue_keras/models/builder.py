"""The one door to every model: bert4keras's `build_transformer_model`."""

import inspect
import json
import os

import keras

from kexue_keras.models.bert import Bert, BertBlueprint
from kexue_keras.models.blueprint_config import parameters_of
from kexue_keras.models.checkpoints.hugging_face import CONFIG
from kexue_keras.models.checkpoints.storage import load_checkpoint
from kexue_keras.models.families import arguments_in, family_of_name
from kexue_keras.models.transformer import Transformer

_MODELS = {BertBlueprint: Bert}
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
    model=None,
    application="encoder",
    with_pool=False,
    with_mlm=False,
    keep_tokens=None,
    return_keras_model=True,
    **config,
):
    """Builds a transformer from its configuration and, optionally, loads a checkpoint.

    Args:
        config_path: path of Google's `bert_config.json`, of Hugging Face's `config.json`, or of a
            folder with the latter. Entries that no model needs are passed over.
        checkpoint_path: path of a checkpoint in Google's TensorFlow format (the common prefix of
            its files, as `bert_model.ckpt`), of a folder with Hugging Face's `model.safetensors`,
            or of any other that `load_checkpoint` reads.
        model: "bert" or "roberta" (the same architecture), "albert", "albert_unshared", "nezha",
            "roformer", "roformer_v2", "electra", "gpt", "gpt2", "gpt2_ml"; "t5.1.0" (or "t5"),
            "t5.1.1" and "mt5.1.1", each also with "_encoder" or "_decoder"; or a class of
            blueprints, see `Blueprint`. None: the family that the `model_type` of Hugging Face's
            `config.json` names, otherwise "bert".
        application: "encoder", "lm" or "unilm".
        with_pool: adds the pooled output: True (tanh) or the name of an activation.
        with_mlm: adds the masked-LM output: True (probabilities) or "linear" (logits).
        keep_tokens: ids of the tokens to keep, as `load_vocab(simplified=True)` returns them.
        return_keras_model: False returns the model's `Blueprint`, as bert4keras its own: an object
            with `.model`, `.layers` by name, `.initializer`, `.load_weights_from_checkpoint` and
            `.save_weights_as_checkpoint`.
        **config: entries of the configuration, added to or in place of those of `config_path`; and
            `layer_norm_cond`, a condition of all layer normalizations, a Keras tensor `(batch,
            size)` made from `additional_input_layers`, a `keras.Input` or a list of them, which
            become the model's last inputs (see `condition_model` of `Blueprint`).

    Returns:
        A `keras.Model` with inputs `[token_ids, segment_ids]`, int32 `(batch, length)`; or its
        `Blueprint`.

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
    arguments = {} if config_path is None else _read_config(config_path)
    model_type = arguments.get("model_type")
    family = family_of_name(model, model_type, config_path)
    known = parameters_of(family)
    if model_type is not None and family.reads_type(model_type):
        arguments = family.from_hugging_face(arguments)
    arguments = {**arguments_in(model), **arguments}
    arguments = {_CONFIG_NAMES.get(k, k): v for k, v in arguments.items()}
    # name and dtype in a configuration file are those of another library
    arguments = {k: v for k, v in arguments.items() if k in known and k not in _KERAS_ARGUMENTS}
    if with_pool or "with_pool" in known:
        config["with_pool"] = with_pool
    condition = (config.pop(n, None) for n in ("layer_norm_cond", "additional_input_layers"))
    config |= _condition(*condition)
    for name, value in config.items():
        name = _CONFIG_NAMES.get(name, name)
        if name not in known and name not in _KERAS_ARGUMENTS:
            raise ValueError(
                f"{family.__name__.removesuffix('Blueprint')} has no argument `{name}`. "
                f"Received: {name}={value!r}"
            )
        arguments[name] = value
    required = [n for n, p in known.items() if p.default is inspect.Parameter.empty]
    missing = [name for name in required if name not in arguments]
    if missing:
        raise ValueError(
            f"`{missing[0]}` is needed, in `config_path` or as an argument. "
            f"Received: config_path={config_path!r}"
        )
    arguments.update(application=application, with_mlm=with_mlm, keep_tokens=keep_tokens)
    keras_name = arguments.pop("name", None)
    if family in _MODELS:
        transformer = _MODELS[family](**arguments, name=keras_name)
    else:
        transformer = Transformer(family(**arguments), name=keras_name)
    if checkpoint_path is not None:
        load_checkpoint(transformer, checkpoint_path)
    return transformer if return_keras_model else transformer.blueprint


def _condition(condition, inputs):
    """Arguments of a blueprint for a condition that comes as a Keras tensor."""
    if condition is None and inputs is None:
        return {}
    inputs = [inputs] if isinstance(inputs, keras.KerasTensor) else list(inputs or ())
    if not isinstance(condition, keras.KerasTensor) or len(condition.shape) != 2:
        received = getattr(condition, "shape", condition)
        raise ValueError(
            "`layer_norm_cond` must be a Keras tensor (batch, size) if there are "
            f"`additional_input_layers`. Received: {received}"
        )
    if not inputs:
        raise ValueError(
            "`additional_input_layers` must be the inputs from which `layer_norm_cond` is made. "
            "Received: None"
        )
    return {"condition_model": keras.Model(inputs, condition)}


def _read_config(path):
    path = os.path.join(path, CONFIG) if os.path.isdir(path) else path
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
