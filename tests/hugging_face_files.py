"""Hugging Face's files of the random checkpoint of `tiny_checkpoint`, named here by rules."""

import json
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

_RULES = (
    ("cls/predictions/output_bias", "cls/predictions/bias"),
    ("seq_relationship/output_weights", "seq_relationship/weight"),
    ("seq_relationship/output_bias", "seq_relationship/bias"),
    (r"(_embeddings)$", r"\1/weight"),
    ("gamma$|kernel$", "weight"),
    ("beta$", "bias"),
    (r"layer_(\d)", r"layer/\1"),
    ("/", "."),
)


def hugging_face_tensors(variables, old_names=False):
    """Arrays by Hugging Face's names, of those by Google's.

    Args:
        variables: arrays by Google's names.
        old_names: whether normalizations keep `gamma` and `beta`, as in the first files.
    """
    tensors = {}
    for name, value in variables.items():
        new = name
        for pattern, replacement in _RULES:
            if not (old_names and pattern.startswith(("gamma", "beta"))):
                new = re.sub(pattern, replacement, new)
        new = re.sub("kernel$", "weight", new)
        tensors[new] = np.ascontiguousarray(value.T) if name.endswith("kernel") else value
    return tensors


def write_folder(folder, tiny, tensors=None, **config):
    """Writes `config.json` and `model.safetensors` of a tiny checkpoint; returns the folder."""
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    config = {**tiny.config, "model_type": "bert", "layer_norm_eps": 1e-12, **config}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = hugging_face_tensors(tiny.variables) if tensors is None else tensors
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_shards(folder, tensors, count=2):
    """Writes the tensors into `count` files with an index; returns the path of the index."""
    names, shards = list(tensors), {}
    for number in range(count):
        shard = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
        own = names[number::count]
        save_file({name: tensors[name] for name in own}, Path(folder) / shard)
        shards |= dict.fromkeys(own, shard)
    path = Path(folder) / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": shards}), encoding="utf-8")
    return path
