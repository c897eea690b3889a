"""Google's BERT checkpoints in and out of any model that has bert4keras's layer names."""

import dataclasses
import os
import re
import zipfile
import zlib

import numpy as np

from kexue_keras.files import replacing
from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError, TensorBundle
from kexue_keras.models.checkpoints.tensor_bundle import write as write_bundle

_ATTENTION = "bert/encoder/layer_{0}/attention"
_LAYERS = {
    r"Embedding-Token": {"embeddings": "bert/embeddings/word_embeddings"},
    r"Embedding-Segment": {"embeddings": "bert/embeddings/token_type_embeddings"},
    r"Embedding-Position": {"embeddings": "bert/embeddings/position_embeddings"},
    r"Embedding-Norm": "bert/embeddings/LayerNorm",
    r"Embedding-Mapping": "bert/encoder/embedding_hidden_mapping_in",
    r"Transformer-(\d+)-MultiHeadSelfAttention": {
        "query": _ATTENTION + "/self/query",
        "key": _ATTENTION + "/self/key",
        "value": _ATTENTION + "/self/value",
        "output": _ATTENTION + "/output/dense",
    },
    r"Transformer-(\d+)-MultiHeadSelfAttention-Norm": _ATTENTION + "/output/LayerNorm",
    r"Transformer-(\d+)-FeedForward": {
        "intermediate": "bert/encoder/layer_{0}/intermediate/dense",
        "output": "bert/encoder/layer_{0}/output/dense",
    },
    r"Transformer-(\d+)-FeedForward-Norm": "bert/encoder/layer_{0}/output/LayerNorm",
    r"Pooler-Dense": "bert/pooler/dense",
    r"NSP-Proba": {
        "kernel": "cls/seq_relationship/output_weights",
        "bias": "cls/seq_relationship/output_bias",
    },
    r"MLM-Dense": "cls/predictions/transform/dense",
    r"MLM-Norm": "cls/predictions/transform/LayerNorm",
    r"MLM-Bias": {"bias": "cls/predictions/output_bias"},
}
_VOCABULARY = ("bert/embeddings/word_embeddings", "cls/predictions/output_bias")
_TRANSPOSED = ("cls/seq_relationship/output_weights",)
_DAMAGE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class CheckpointVariable:
    """A variable of a model and its name in Google's format."""

    name: str
    variable: object

    def to_checkpoint(self):
        """The value as the checkpoint stores it, a float32 array."""
        value = np.asarray(_numpy(self.variable), "float32")
        return np.ascontiguousarray(value.T) if self.name in _TRANSPOSED else value

    def from_checkpoint(self, value, keep_tokens=None):
        """The value as the model holds it."""
        if self.name in _TRANSPOSED:
            return value.T
        if keep_tokens is not None and self.name in _VOCABULARY:
            return value[np.asarray(keep_tokens)]
        return value


def _numpy(variable):
    import keras

    return keras.ops.convert_to_numpy(keras.ops.cast(variable.value, "float32"))


def checkpoint_variables(model):
    """The variables of `model` that a BERT checkpoint holds, found by their layers' names.

    Layers are looked for in nested models too, so a model built on top of a BERT will do.

    Args:
        model: a `keras.Model`.

    Returns:
        List of `CheckpointVariable`.

    Example:

    >>> from kexue_keras import models
    >>> from kexue_keras.models.checkpoints.google import checkpoint_variables
    >>> model = models.Bert(20, 8, 1, 2, 16)
    >>> checkpoint_variables(model)[0].name
    'bert/embeddings/word_embeddings'
    """
    found = {}
    for layer in model._flatten_layers(include_self=False, recursive=True):
        for pattern, names in _LAYERS.items():
            match = re.fullmatch(pattern, layer.name)
            if match is None:
                continue
            for variable in layer.variables:
                name = _variable_name(variable, names)
                if name is not None:
                    found.setdefault(id(variable), (name.format(*match.groups()), variable))
    return [CheckpointVariable(name, variable) for name, variable in found.values()]


def _variable_name(variable, names):
    if isinstance(names, str):
        return f"{names}/{variable.name}"
    if variable.name in names:
        return names[variable.name]
    parent = variable.path.split("/")[-2]
    return f"{names[parent]}/{variable.name}" if parent in names else None


def load_checkpoint(model, path, keep_tokens=None):
    """Loads a pretrained BERT into a model, all variables or none.

    The files are read without TensorFlow. Variables of the checkpoint that the model has no layer
    for (the masked-LM head of a plain encoder, the optimizer's state) are not read.

    Args:
        model: a model of `build_transformer_model`, or one built on top of it.
        path: common prefix of the checkpoint's files, as `bert_model.ckpt` (or its `.index`), or an
            `.npz` file with the same variable names.
        keep_tokens: ids of the tokens to keep; by default those the model was built with.

    Raises:
        CheckpointError: a file is missing, cut off or damaged, a variable is missing or has another
            shape. The message names the file, the variable and both shapes; the model is unchanged.
        ValueError: no layer has a name of bert4keras, or `keep_tokens` are no ids.

    Example:

    >>> import os, tempfile
    >>> from kexue_keras import models
    >>> path = os.path.join(tempfile.mkdtemp(), "model.ckpt")
    >>> models.save_checkpoint(models.Bert(20, 8, 1, 2, 16), path)
    >>> models.load_checkpoint(models.Bert(20, 8, 1, 2, 16), path)
    """
    path = os.fspath(path)
    if keep_tokens is None:
        keep_tokens = getattr(model, "keep_tokens", None)
    targets = checkpoint_variables(model)
    if not targets:
        raise ValueError(
            "`model` must have layers with bert4keras's names, as build_transformer_model makes. "
            f"Received: {model.name!r} without any"
        )
    if keep_tokens is not None and min(keep_tokens) < 0:
        raise ValueError(f"`keep_tokens` must be ids. Received: {min(keep_tokens)}")
    # a model built with `keep_tokens` knows the size of the vocabulary that they are of
    reduced = getattr(model, "keep_tokens", None) is not None
    vocabulary = model._config["vocab_size"] if reduced else None
    with _open(path) as bundle:
        values = [
            _fitting_value(bundle, path, target, keep_tokens, vocabulary) for target in targets
        ]
    for target, value in zip(targets, values, strict=True):
        target.variable.assign(value)


def _fitting_value(bundle, path, target, keep_tokens, vocabulary):
    stored = bundle.shape(target.name)
    expected = tuple(target.variable.shape)
    if keep_tokens is not None and target.name in _VOCABULARY and stored:
        if max(keep_tokens) >= stored[0]:
            raise CheckpointError(
                f"{path}: `keep_tokens` goes up to id {max(keep_tokens)}, but {target.name} has "
                f"shape {stored}"
            )
        if vocabulary not in (None, stored[0]):
            raise CheckpointError(
                f"{path}: {target.name} has {stored[0]} tokens, the model's vocabulary, of which "
                f"`keep_tokens` keeps some, has {vocabulary}"
            )
        stored = (len(keep_tokens), *stored[1:])
    if target.name in _TRANSPOSED:
        stored = stored[::-1]
    if stored != expected:
        hint = ""
        if target.name in _VOCABULARY and stored[1:] == expected[1:]:
            hint = (
                f"; the model's vocabulary has {expected[0]} tokens, the checkpoint's {stored[0]}"
            )
        raise CheckpointError(
            f"{path}: {target.name} has shape {stored}, the model's "
            f"{target.variable.path} has shape {expected}{hint}"
        )
    return target.from_checkpoint(bundle.read(target.name), keep_tokens)


def save_checkpoint(model, path):
    """Saves a model's BERT variables in Google's TensorFlow format, readable by bert4keras.

    A `.npz` path makes one NumPy file with the same variable names. Files are written under
    temporary names and renamed, so an interrupted call leaves an older checkpoint whole.

    Args:
        model: a model of `build_transformer_model`, or one built on top of it.
        path: common prefix of the files to write, or the path of an `.npz` file.

    Raises:
        ValueError: no layer has a name of bert4keras, two have the same (two BERTs in one model),
            or a kernel has a LoRA, which the format has no place for.

    Example: see `load_checkpoint`.
    """
    path = os.fspath(path)
    refuse_lora(model)
    variables = checkpoint_variables(model)
    tensors = {v.name: v.to_checkpoint() for v in variables}
    if len(tensors) < len(variables):
        names = [v.name for v in variables]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"`model` must have one BERT; save its parts one by one. Received: {twice} twice"
        )
    if not tensors:
        raise ValueError(
            "`model` must have layers with bert4keras's names, as build_transformer_model makes. "
            f"Received: {model.name!r} without any"
        )
    if not path.endswith(".npz"):
        write_bundle(path, tensors)
        return
    with replacing(path) as temporary:
        np.savez(temporary, **tensors)


def refuse_lora(model):
    """Raises a ValueError if a layer keeps what it learned beside its kernel."""
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if getattr(layer, "lora_enabled", False):
            raise ValueError(
                f"`model` must not have LoRA; merge it into the kernels first. Received: "
                f"{layer.path}"
            )


def _open(path):
    return _NpzFile(path) if path.endswith(".npz") else TensorBundle(path)


class _NpzFile:
    """An `.npz` file with the reading interface of `TensorBundle`."""

    def __init__(self, path):
        self.path = path
        try:
            self.stream = open(path, "rb")
        except OSError as error:
            raise CheckpointError(f"{path} cannot be opened: {error.strerror}") from error
        try:
            self.file = np.load(self.stream, allow_pickle=False)
        except _DAMAGE as error:
            self.stream.close()
            raise CheckpointError(f"{path} is cut off or not an .npz file: {error}") from error
        if not isinstance(self.file, np.lib.npyio.NpzFile):
            self.stream.close()
            raise CheckpointError(f"{path} is not an .npz file: it holds a single array")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()
        self.stream.close()

    def shape(self, name):
        return self.read(name).shape

    def read(self, name):
        if name not in self.file:
            raise CheckpointError(f"{self.path} has no variable {name}")
        try:
            return np.asarray(self.file[name], "float32")
        except _DAMAGE as error:
            raise CheckpointError(f"{self.path}: {name} is damaged: {error}") from error
