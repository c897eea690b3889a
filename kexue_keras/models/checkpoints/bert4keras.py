"""Weight files of bert4keras: what its `model.save_weights` wrote, read without TensorFlow."""

import os
import re
from functools import partial

import h5py
import keras
import numpy as np

from kexue_keras import backend
from kexue_keras.files import replacing
from kexue_keras.models.checkpoints.hdf5 import Hdf5File
from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError, TensorBundle
from kexue_keras.models.checkpoints.weights import refuse_lora, to_float32, weights_of

_ATTRIBUTE_BYTES = 60000


def load_bert4keras_weights(model, path):
    """Loads what bert4keras's `model.save_weights(path)` wrote, all of it or nothing.

    Three kinds of files are told apart by what they hold:

    - Keras 2's HDF5 file (`best_model.h5`; in the days of Keras 2.3 any name). It names its layers,
      so the model may have fewer of them than the file: an encoder loads from the file of a UniLM.
    - tf_keras's `best_model.weights.h5`, and TensorFlow's object checkpoint (any other name;
      `path` is then the common prefix of `best_model.weights.index` and its data file). Both
      number the layers only, so the model must have the same layers, heads included; in the first
      one a `LayerNormalization` of the head must have been Keras's, not bert4keras's.

    A model that bert4keras built with `keep_tokens` needs the same `keep_tokens` here.

    Args:
        model: a model of `build_transformer_model`, or one built on top of it in the same way and
            with the same layer names as the one that was saved.
        path: the path that `save_weights` was given.

    Raises:
        CheckpointError: the file is missing or damaged, or a layer is missing or has other shapes.
            The message names the file, the layer and both shapes; the model is unchanged.

    Example:

    >>> import os, tempfile
    >>> from kexue_keras import models
    >>> path = os.path.join(tempfile.mkdtemp(), "best_model.h5")
    >>> models.save_bert4keras_weights(models.Bert(20, 8, 1, 2, 16), path)
    >>> models.load_bert4keras_weights(models.Bert(20, 8, 1, 2, 16), path)
    """
    path = os.fspath(path)
    refuse_lora(model)
    targets = _layers_with_weights(model)
    if os.path.isfile(path):
        with Hdf5File(path) as file:
            _assign(_read_hdf5(file, targets))
    else:
        with TensorBundle(path) as bundle:
            _assign(_read_object_checkpoint(bundle, targets))


def _assign(values):
    """All or none, with one array in memory at a time: `(variable, check, read)` of each."""
    for _, check, _ in values:
        check()
    for variable, _, read in values:
        value = np.asarray(read(), "float32")
        backend.assign_by_rows(
            variable, lambda start, stop, value=value: value[start:stop] if value.shape else value
        )


def save_bert4keras_weights(model, path):
    """Saves a model's weights in Keras 2's HDF5 format: bert4keras's `model.load_weights` reads it.

    The file is written under a temporary name and renamed. In a model built on top, Keras's
    `LayerNormalization` is written as Keras's (gamma first), and ours as bert4keras's own class.

    Args:
        model: a model of `build_transformer_model`, or one built on top of it.
        path: path of the file to write, ending in ".h5" (but not in ".weights.h5", by which
            tf_keras takes it for another format).

    Raises:
        ValueError: another ending, or a kernel with a LoRA, which the format has no place for.

    Example: see `load_bert4keras_weights`.
    """
    path = os.fspath(path)
    if not path.endswith(".h5") or path.endswith(".weights.h5"):
        raise ValueError(f'`path` must end in ".h5" and not in ".weights.h5". Received: {path!r}')
    refuse_lora(model)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        targets = _layers_with_weights(model)
        _write_names(file, "layer_names", [layer.name for layer in targets])
        for layer in targets:
            group = file.create_group(layer.name)
            parts = weights_of(layer)
            names = _unique(layer.name, [part for part, _ in parts])
            _write_names(group, "weight_names", names)
            for name, (_, variable) in zip(names, parts, strict=True):
                group.create_dataset(name, data=to_float32(variable))


def _layers_with_weights(model):
    """The layers, those of nested models in place of the models, in the order of the graph."""

    def walk(container):
        for layer in container.layers:
            if isinstance(layer, keras.Model):
                yield from walk(layer)
            elif weights_of(layer):
                yield layer

    return list({id(layer): layer for layer in walk(model)}.values())


def _unique(layer, parts):
    """HDF5 names of weights, with a number before what repeats, as the two kernels of an LSTM."""
    numbers = [parts[:i].count(part) for i, part in enumerate(parts)]
    return [
        "/".join([layer, *([str(n)] if n else []), part]) + ":0"
        for n, part in zip(numbers, parts, strict=True)
    ]


def _read_hdf5(file, targets):
    root = "model_weights" if "model_weights" in file else "/"
    layer_names = file.names(root, "layer_names")
    if layer_names:
        return _read_named_layers(file, root, targets)
    if "layers" in file:
        return _read_numbered_layers(file, "layers", targets)
    raise CheckpointError(f"{file.path} is an HDF5 file, but not one of Keras weights")


def _read_named_layers(file, root, targets):
    """Keras 2's format: a group per layer, whose attribute lists its weights in order."""
    values, path = [], file.path
    for layer in targets:
        group = f"{root}/{layer.name}"
        if group not in file:
            raise CheckpointError(f"{path} has no layer {layer.name}")
        names, parts = file.names(group, "weight_names"), weights_of(layer)
        aliases = getattr(layer, "bert4keras_aliases", {})
        stored = [aliases.get(last, last) for last in map(_last_part, names)]
        expected = [_last_part(part) for part, _ in parts]
        if len(set(stored)) == len(stored) and sorted(stored) == sorted(expected):
            # the classes of one name that there are differ in their order, not in their names
            names = [names[stored.index(part)] for part in expected]
            stored = expected
        if stored != expected:
            raise CheckpointError(
                f"{path}: layer {layer.name} has the weights {stored}, the model's has {expected}"
            )
        for name, (part, variable) in zip(names, parts, strict=True):
            key = f"{group}/{name}"
            if key not in file:
                raise CheckpointError(f"{path} is damaged: layer {layer.name} has lost {name}")
            target = (f"{layer.name}/{part}", variable)
            values.append(_fitting(file, key, path, *target))
    return values


def _last_part(name):
    return name.split("/")[-1].split(":")[0]


def _read_numbered_layers(file, root, targets):
    """tf_keras's `.weights.h5`: layers numbered within their class, weights within their layer."""
    counts, wanted = {}, {}
    for layer in targets:
        kind = _snake_case(getattr(layer, "bert4keras_class", type(layer).__name__))
        number = counts[kind] = counts.get(kind, -1) + 1
        prefix = f"{kind}_{number}" if number else kind
        denses = {}
        for part, variable in weights_of(layer):
            *inner, _ = part.split("/")
            place = "/".join([prefix, *inner, "vars"])
            position = denses[place] = denses.get(place, -1) + 1
            wanted[f"{place}/{position}"] = (f"{layer.name}/{part}", variable)
    _check_same_keys(file.path, file.datasets(root), wanted)
    return [_fitting(file, f"{root}/{key}", file.path, *target) for key, target in wanted.items()]


def _snake_case(name):
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _read_object_checkpoint(bundle, targets):
    """TensorFlow's format: layers with weights numbered in the order of the graph."""
    ending = "/.ATTRIBUTES/VARIABLE_VALUE"
    wanted = {
        f"layer_with_weights-{number}/{part}{ending}": (f"{layer.name}/{part}", variable)
        for number, layer in enumerate(targets)
        for part, variable in weights_of(layer)
    }
    keys = [k for k in bundle.keys() if k.startswith("layer_with_weights-")]
    _check_same_keys(bundle.path, [k for k in keys if "/.OPTIMIZER_SLOT/" not in k], wanted)
    return [_fitting(bundle, key, bundle.path, *target) for key, target in wanted.items()]


def _check_same_keys(path, stored, wanted):
    """Numbered layers can be told apart only if the file has exactly those of the model."""
    missing = [target[0] for key, target in wanted.items() if key not in set(stored)]
    if missing:
        raise CheckpointError(
            f"{path} has no {missing[0]}. This kind of file numbers its layers, so the model must "
            "have the same layers and heads as the one that was saved"
        )
    left = sorted(set(stored) - set(wanted))
    if left:
        raise CheckpointError(
            f"{path} has {left[0]}, for which the model has no layer. This kind of file numbers "
            "its layers, so the model must have the same layers and heads as the one that was saved"
        )


def _fitting(file, key, path, name, variable):
    stored, expected = tuple(file.shape(key)), tuple(variable.shape)
    if stored != expected:
        raise CheckpointError(
            f"{path}: {name} has shape {stored}, the model's {variable.path} has shape {expected}"
        )
    return variable, partial(file.check, key), partial(file.read, key)


def _write_names(group, name, names):
    data = np.array([text.encode() for text in names])
    chunks = np.array_split(data, data.nbytes // _ATTRIBUTE_BYTES + 1)
    if len(chunks) == 1:
        group.attrs[name] = data
        return
    for i, chunk in enumerate(chunks):
        group.attrs[f"{name}{i}"] = chunk
