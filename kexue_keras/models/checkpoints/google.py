"""Google's checkpoints in and out of any model that holds a transformer of ours."""

import dataclasses
import os
import re
import warnings
import zipfile
import zlib

import numpy as np

from kexue_keras import backend
from kexue_keras.files import replacing
from kexue_keras.models.bert import BertBlueprint
from kexue_keras.models.checkpoints.names import Transposed
from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError, TensorBundle
from kexue_keras.models.checkpoints.tensor_bundle import write as write_bundle
from kexue_keras.models.checkpoints.weights import refuse_lora, to_float32, weights_of
from kexue_keras.models.transformer import blueprints_of

_DAMAGE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class CheckpointVariable:
    """A variable of a model and its name in Google's format.

    Attributes:
        name: the name; a `Transposed` one if the kernel is stored the other way round.
        variable: the `keras.Variable`.
        has_rows: whether it has a row for every token.
        kept: of a variable with a row for every token: which ones the model keeps, or None.
        vocab_size: size of the vocabulary that `kept` chooses from.
    """

    name: str
    variable: object
    has_rows: bool = False
    kept: tuple | None = None
    vocab_size: int | None = None

    def to_checkpoint(self):
        """The value as the checkpoint stores it, a float32 array."""
        value = to_float32(self.variable)
        return np.ascontiguousarray(value.T) if isinstance(self.name, Transposed) else value


def checkpoint_variables(model, keep_tokens=None, stored=None):
    """The variables of the transformers in `model` that a checkpoint of Google's holds.

    Transformers are looked for in nested models too, and in models built of their layers.

    Args:
        model: a `keras.Model`.
        keep_tokens: ids of the tokens to keep; by default those the model was built with.
        stored: names of the variables of a file to read, or None for those to write.

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
    for blueprint, layer_name, names, weights in _named_layers(model, stored):
        own = blueprint.config["keep_tokens"]
        kept = own if keep_tokens is None else keep_tokens
        # a model built with `keep_tokens` knows the size of the vocabulary that they are of
        vocab_size = None if own is None else blueprint.config["vocab_size"]
        details = (True, kept, vocab_size) if layer_name in blueprint.vocabulary_layers else ()
        for name, variable in _paired(names, weights):
            found.setdefault(id(variable), CheckpointVariable(name, variable, *details))
    return list(found.values())


def _named_layers(model, stored=None):
    """Blueprint, layer's name, names of its variables, its weights, of every layer in a table."""
    for blueprint in blueprints_of(model) or [_by_names_alone(model)]:
        mapping = blueprint.variable_mapping()
        mapping = mapping if stored is None else blueprint.mapping_of_file(stored)
        for layer_name, names in mapping.items():
            if layer_name not in blueprint.layers:
                continue
            weights = weights_of(blueprint.layers[layer_name])
            if len(names) > len(weights):
                raise ValueError(
                    f"`variable_mapping` of {type(blueprint).__name__} must have at most "
                    f"{len(weights)} names for {layer_name}. Received: {names}"
                )
            yield blueprint, layer_name, names, weights


def _paired(names, weights):
    """Names of a table and variables: by what they are called if that is clear, else in order."""
    ends = [name.split("/")[-1] for name in names]
    own = {variable.name: variable for _, variable in weights}
    if len(set(ends)) == len(ends) and set(ends) <= set(own) and len(own) == len(weights):
        return [(name, own[end]) for name, end in zip(names, ends, strict=True)]
    return [(name, variable) for name, (_, variable) in zip(names, weights, strict=False)]


def _by_names_alone(model):
    """The blueprint of a BERT made of layers with bert4keras's names, by whomever; or nothing."""
    layers = {layer.name: layer for layer in backend.layers_of(model)}
    blocks = [re.match(r"Transformer-(\d+)-", name) for name in layers]
    depth = max((int(match.group(1)) for match in blocks if match), default=0) + 1
    blueprint = BertBlueprint(1, 1, depth, 1, 1)
    blueprint.layers, blueprint.model, blueprint.sealed = layers, model, True
    return blueprint


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
    if keep_tokens is not None and min(keep_tokens, default=-1) < 0:
        raise ValueError(f"`keep_tokens` must be ids. Received: {min(keep_tokens, default='none')}")
    refuse_lora(model)
    if not checkpoint_variables(model, keep_tokens):
        raise ValueError(_no_transformer(model))
    with _open(path) as bundle:
        targets = checkpoint_variables(model, keep_tokens, bundle.keys())
        values = [_fitting_value(bundle, path, target) for target in targets]
    for target, value in zip(targets, values, strict=True):
        target.variable.assign(value)


def _no_transformer(model):
    return (
        "`model` must have layers with bert4keras's names, as build_transformer_model makes. "
        f"Received: {model.name!r} without any"
    )


def _fitting_value(bundle, path, target):
    stored, kept = bundle.shape(target.name), target.kept
    expected = tuple(target.variable.shape)
    if kept is not None and stored:
        if max(kept) >= stored[0]:
            raise CheckpointError(
                f"{path}: `keep_tokens` goes up to id {max(kept)}, but {target.name} has "
                f"shape {stored}"
            )
        if target.vocab_size not in (None, stored[0]):
            raise CheckpointError(
                f"{path}: {target.name} has {stored[0]} tokens, the model's vocabulary, of which "
                f"`keep_tokens` keeps some, has {target.vocab_size}"
            )
        stored = (len(kept), *stored[1:])
    if isinstance(target.name, Transposed):
        stored = stored[::-1]
    if stored != expected:
        hint = ""
        if target.has_rows and stored[1:] == expected[1:]:
            hint = (
                f"; the model's vocabulary has {expected[0]} tokens, the checkpoint's {stored[0]}"
            )
        raise CheckpointError(
            f"{path}: {target.name} has shape {stored}, the model's "
            f"{target.variable.path} has shape {expected}{hint}"
        )
    value = bundle.read(target.name)
    if isinstance(target.name, Transposed):
        return value.T
    return value if kept is None else value[np.asarray(kept)]


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

    A warning names the layers of which variables are left out, those of conditions.

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
        raise ValueError(_no_transformer(model))
    left_out = [layer for _, layer, names, weights in _named_layers(model) if weights[len(names) :]]
    if left_out:
        warnings.warn(
            f"{path}: the format has no place for some variables of {len(left_out)} layers, as the "
            f"projections of conditions: {', '.join(left_out)}",
            stacklevel=2,
        )
    if not path.endswith(".npz"):
        write_bundle(path, tensors)
        return
    with replacing(path) as temporary:
        np.savez(temporary, **tensors)


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

    def keys(self):
        return self.file.files

    def shape(self, name):
        return self.read(name).shape

    def read(self, name):
        if name not in self.file:
            raise CheckpointError(f"{self.path} has no variable {name}")
        try:
            return np.asarray(self.file[name], "float32")
        except _DAMAGE as error:
            raise CheckpointError(f"{self.path}: {name} is damaged: {error}") from error
