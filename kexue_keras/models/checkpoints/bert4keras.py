"""Weight files of bert4keras: what its `model.save_weights` wrote, read without TensorFlow."""

import os
import re
from functools import partial

import h5py
import keras
import numpy as np

from kexue_keras import layers
from kexue_keras.files import replacing
from kexue_keras.layers.head_projections import HeadProjections
from kexue_keras.models.checkpoints.google import refuse_lora
from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError, TensorBundle

_ATTENTION_PARTS = {
    "q_dense": "query_dense",
    "k_dense": "key_dense",
    "v_dense": "value_dense",
    "o_dense": "output_dense",
}
_FEED_FORWARD_PARTS = {"i0_dense": "intermediate_dense", "o_dense": "output_dense"}
_NORMS = re.compile(r"Embedding-Norm|MLM-Norm|Transformer-\d+-.*-Norm")
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
    targets = _layers_with_weights(model)
    if not os.path.isfile(path):
        values = _read_object_checkpoint(path, targets)
    else:
        try:
            with h5py.File(path, "r") as file:
                values = _read_hdf5(file, path, targets)
        except (OSError, KeyError, RuntimeError) as error:
            raise CheckpointError(f"{path} is damaged or no HDF5 file: {error}") from error
    for variable, value in values:
        variable.assign(value)


def save_bert4keras_weights(model, path):
    """Saves a model's weights in Keras 2's HDF5 format: bert4keras's `model.load_weights` reads it.

    The file is written under a temporary name and renamed. A `LayerNormalization` of a model built
    on top is written as Keras's (gamma first); bert4keras's own class has beta first, and would
    read the two exchanged.

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
            parts = _parts(layer)
            names = _unique(layer.name, [part for part, _ in parts])
            _write_names(group, "weight_names", names)
            for name, (_, variable) in zip(names, parts, strict=True):
                value = keras.ops.cast(variable.value, "float32")
                group.create_dataset(name, data=keras.ops.convert_to_numpy(value))


def _layers_with_weights(model):
    """The layers, those of nested models in place of the models, in the order of the graph."""

    def walk(container):
        for layer in container.layers:
            if isinstance(layer, keras.Model):
                yield from walk(layer)
            elif _parts(layer):
                yield layer

    return list({id(layer): layer for layer in walk(model)}.values())


def _parts(layer):
    """bert4keras's names of a layer's weights, and our variables, in bert4keras's order."""
    if isinstance(layer, HeadProjections):
        return _parts_of_denses(layer, _ATTENTION_PARTS)
    if isinstance(layer, layers.FeedForward):
        return _parts_of_denses(layer, _FEED_FORWARD_PARTS)
    if isinstance(layer, layers.BiasAdd):
        return [("beta", layer.bias)]
    variables = layer.trainable_weights + layer.non_trainable_weights
    if _NORMS.fullmatch(layer.name):  # of bert4keras's own class, in the order of the alphabet
        variables = sorted(variables, key=lambda variable: variable.name)
    return [(variable.name, variable) for variable in variables]


def _unique(layer, parts):
    """HDF5 names of weights, with a number before what repeats, as the two kernels of an LSTM."""
    numbers = [parts[:i].count(part) for i, part in enumerate(parts)]
    return [
        "/".join([layer, *([str(n)] if n else []), part]) + ":0"
        for n, part in zip(numbers, parts, strict=True)
    ]


def _parts_of_denses(layer, names):
    parts = []
    for name, attribute in names.items():
        dense = getattr(layer, attribute)
        parts += [(f"{name}/{variable.name}", variable) for variable in dense.weights]
    return parts


def _read_hdf5(file, path, targets):
    root = file["model_weights"] if "model_weights" in file else file
    if _read_names(root, "layer_names"):
        return _read_named_layers(root, path, targets)
    if "layers" in file:
        return _read_numbered_layers(file["layers"], path, targets)
    raise CheckpointError(f"{path} is an HDF5 file, but not one of Keras weights")


def _read_named_layers(root, path, targets):
    """Keras 2's format: a group per layer, whose attribute lists its weights in order."""
    values = []
    for layer in targets:
        if layer.name not in root:
            raise CheckpointError(f"{path} has no layer {layer.name}")
        group = root[layer.name]
        names, parts = _read_names(group, "weight_names"), _parts(layer)
        stored = [_last_part(name) for name in names]
        expected = [_last_part(part) for part, _ in parts]
        if len(set(stored)) == len(stored) and sorted(stored) == sorted(expected):
            # the classes of one name that there are differ in their order, not in their names
            names = [names[stored.index(part)] for part in expected]
            stored = expected
        if stored != expected and not (isinstance(layer, layers.BiasAdd) and stored == ["bias"]):
            raise CheckpointError(
                f"{path}: layer {layer.name} has the weights {stored}, the model's has {expected}"
            )
        for name, (part, variable) in zip(names, parts, strict=True):
            data = group.get(name)
            if data is None:
                raise CheckpointError(f"{path} is damaged: layer {layer.name} has lost {name}")
            target = (f"{layer.name}/{part}", variable)
            values.append(_fitting(data.shape, partial(np.array, data), path, *target))
    return values


def _last_part(name):
    return name.split("/")[-1].split(":")[0]


def _read_numbered_layers(root, path, targets):
    """tf_keras's `.weights.h5`: layers numbered within their class, weights within their layer."""
    counts, wanted = {}, {}
    for layer in targets:
        kind = "scale_offset" if isinstance(layer, layers.BiasAdd) else _snake_case(layer)
        number = counts[kind] = counts.get(kind, -1) + 1
        prefix = f"{kind}_{number}" if number else kind
        denses = {}
        for part, variable in _parts(layer):
            *inner, _ = part.split("/")
            place = "/".join([prefix, *inner, "vars"])
            position = denses[place] = denses.get(place, -1) + 1
            wanted[f"{place}/{position}"] = (f"{layer.name}/{part}", variable)
    stored = []
    root.visit(stored.append)
    stored = [name for name in stored if isinstance(root[name], h5py.Dataset)]
    _check_same_keys(path, stored, wanted)
    return [
        _fitting(root[key].shape, partial(np.array, root[key]), path, *target)
        for key, target in wanted.items()
    ]


def _snake_case(layer):
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _read_object_checkpoint(path, targets):
    """TensorFlow's format: layers with weights numbered in the order of the graph."""
    ending = "/.ATTRIBUTES/VARIABLE_VALUE"
    wanted = {
        f"layer_with_weights-{number}/{part}{ending}": (f"{layer.name}/{part}", variable)
        for number, layer in enumerate(targets)
        for part, variable in _parts(layer)
    }
    with TensorBundle(path) as bundle:
        keys = [k for k in bundle.keys() if k.startswith("layer_with_weights-")]
        _check_same_keys(path, [k for k in keys if "/.OPTIMIZER_SLOT/" not in k], wanted)
        return [
            _fitting(bundle.shape(key), partial(bundle.read, key), path, *target)
            for key, target in wanted.items()
        ]


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


def _fitting(shape, read, path, name, variable):
    expected = tuple(variable.shape)
    if tuple(shape) != expected:
        raise CheckpointError(
            f"{path}: {name} has shape {tuple(shape)}, the model's {variable.path} has shape "
            f"{expected}"
        )
    return variable, np.asarray(read(), "float32")


def _read_names(group, name):
    """A list of names; Keras spreads a long one over several attributes."""
    if name in group.attrs:
        found = [group.attrs[name]]
    else:
        numbers = range(len(group.attrs))
        found = [group.attrs[f"{name}{i}"] for i in numbers if f"{name}{i}" in group.attrs]
    texts = [text for part in found for text in part]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]


def _write_names(group, name, names):
    data = np.array([text.encode() for text in names])
    chunks = np.array_split(data, data.nbytes // _ATTRIBUTE_BYTES + 1)
    if len(chunks) == 1:
        group.attrs[name] = data
        return
    for i, chunk in enumerate(chunks):
        group.attrs[f"{name}{i}"] = chunk
