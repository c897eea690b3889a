"""Hugging Face's files: names of variables in `model.safetensors`, and writing them."""

import contextlib
import json
import os

import numpy as np
from safetensors.numpy import save_file

from kexue_keras.files import replacing
from kexue_keras.models.checkpoints.names import names_of, part_of
from kexue_keras.models.transformer import blueprints_of

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"


def candidates(target):
    """The names that a variable may have in a file, the one that is written first.

    Args:
        target: a `CheckpointVariable`.
    """
    for name in names_of(target.name):
        if name.startswith(target.blueprint.hugging_face_heads):
            yield name
            continue
        for prefix in target.blueprint.hugging_face_prefixes:
            yield prefix + name


def write(model, path, targets):
    """Writes the weights and, if the file is a `model.safetensors`, `config.json` beside it.

    Args:
        model: what `targets` are of.
        path: path of the `.safetensors` file.
        targets: list of `CheckpointVariable`.

    Raises:
        ValueError: the model has no or several transformers, or something that the format cannot
            say.
    """
    blueprints = blueprints_of(model)
    if len(blueprints) != 1:
        raise ValueError(
            "`model` must have one transformer made by build_transformer_model, to be written in "
            f"Hugging Face's format. Received: {len(blueprints)}"
        )
    config = json.dumps(blueprints[0].to_hugging_face(), indent=2, ensure_ascii=False) + "\n"
    tensors = _tensors(targets)
    with contextlib.ExitStack() as stack:
        # both are whole before either has its name
        if os.path.basename(path) == WEIGHTS:
            beside = stack.enter_context(replacing(os.path.join(os.path.dirname(path), CONFIG)))
            beside.write_text(config, encoding="utf-8")
        save_file(tensors, stack.enter_context(replacing(path)), metadata={"format": "pt"})


def _tensors(targets):
    """Arrays by their names in the file."""
    found, parts = {}, {}
    for target in targets:
        name, part = next(candidates(target)), part_of(target.name)
        value = target.to_checkpoint(whole_vocabulary=True)
        if part is not None:
            parts.setdefault(name, {})[part.index] = value
        elif name in found:
            raise ValueError(f"`model` must have one transformer. Received: {name} twice")
        else:
            found[name] = value
    # the layer of a family has all parts or none
    joined = {
        name: np.concatenate([pieces[index] for index in sorted(pieces)], axis=-1)
        for name, pieces in parts.items()
    }
    return {name: np.ascontiguousarray(value) for name, value in (found | joined).items()}
