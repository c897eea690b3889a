"""Variables of the transformers in a model, and where they are in a checkpoint."""

import dataclasses
import re

import numpy as np

from kexue_keras import backend
from kexue_keras.models.bert import BertBlueprint
from kexue_keras.models.checkpoints import names as stored_names
from kexue_keras.models.checkpoints.names import StoredName
from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError
from kexue_keras.models.checkpoints.weights import to_float32, weights_of
from kexue_keras.models.transformer import blueprints_of


@dataclasses.dataclass(frozen=True)
class CheckpointVariable:
    """A variable of a model and its name in a checkpoint.

    Attributes:
        name: the name; perhaps one of those of `kexue_keras.models.checkpoints.names`.
        variable: the `keras.Variable`.
        blueprint: of the transformer that it belongs to.
        tokens_axis: axis of the variable on which the tokens are, or None.
        kept: of a variable with a row for every token: which ones the model keeps, or None.
        vocab_size: size of the vocabulary that `kept` chooses from.
    """

    name: str
    variable: object
    blueprint: object = None
    tokens_axis: int | None = None
    kept: tuple | None = None
    vocab_size: int | None = None

    def to_checkpoint(self, whole_vocabulary=False):
        """The value as the checkpoint stores it, a float32 array; of a `Part` that part.

        Args:
            whole_vocabulary: whether tokens that are all there are put back into the order of the
                vocabulary that they were chosen from.
        """
        value = to_float32(self.variable)
        if whole_vocabulary and self.tokens_axis is not None and self.blueprint.keeps_all_tokens:
            order = np.argsort(self.blueprint.config["keep_tokens"])
            value = np.take(value, order, axis=self.tokens_axis)
        return stored_names.to_file(self.name, value)

    def assign(self, stored):
        """Gives the variable the value of an array in the checkpoint."""
        value = stored_names.to_model(self.name, stored)
        backend.assign_by_rows(self.variable, lambda *rows: self._rows(value, *rows))

    def _rows(self, value, start, stop):
        if not value.shape:
            return value
        if self.kept is None:
            return value[start:stop]
        kept = np.asarray(self.kept)
        if self.tokens_axis == 0:
            return value[kept[start:stop]]
        return np.take(value[start:stop], kept, axis=self.tokens_axis)

    def check(self, shape, path, key):
        """Raises a `CheckpointError` if an array of the checkpoint does not fit.

        Args:
            shape: its shape in the file.
            path: of the file.
            key: its name in the file.
        """
        found = list(stored_names.model_shape(self.name, shape))
        expected = list(self.variable.shape)
        axis = self.tokens_axis
        if self.kept is not None and len(found) == len(expected):
            self._check_kept(found[axis], tuple(shape), path, key)
            found[axis] = len(self.kept)
        if found == expected:
            return
        hint = ""
        if axis is not None and len(found) == len(expected):
            ours, theirs = expected[axis], found[axis]
            found_with_ours = [*found]
            found_with_ours[axis] = ours
            if found_with_ours == expected:
                hint = f"; the model's vocabulary has {ours} tokens, the checkpoint's {theirs}"
        stored = f" (stored as {tuple(shape)})" if isinstance(self.name, StoredName) else ""
        raise CheckpointError(
            f"{path}: {key} has shape {tuple(found)}{stored}, the model's "
            f"{self.variable.path} has shape {tuple(expected)}{hint}"
        )

    def _check_kept(self, tokens, shape, path, key):
        if max(self.kept) >= tokens:
            raise CheckpointError(
                f"{path}: `keep_tokens` goes up to id {max(self.kept)}, but {key} has shape {shape}"
            )
        if self.vocab_size not in (None, tokens):
            raise CheckpointError(
                f"{path}: {key} has {tokens} tokens, the model's vocabulary, of which "
                f"`keep_tokens` keeps some, has {self.vocab_size}"
            )


def google_variables(model, keep_tokens=None):
    """The variables of the transformers in `model` that a checkpoint of Google's holds.

    Transformers are looked for in nested models too, and in models built of their layers.

    Args:
        model: a `keras.Model`.
        keep_tokens: ids of the tokens to keep; by default those the model was built with.

    Returns:
        List of `CheckpointVariable`.

    Example:

    >>> from kexue_keras import models
    >>> model = models.Bert(20, 8, 1, 2, 16)
    >>> google_variables(model)[0].name
    'bert/embeddings/word_embeddings'
    """
    return [
        CheckpointVariable(name, variable, *details)
        for name, _, variable, *details in _rows_of(model, keep_tokens, lambda _: None)
    ]


def hugging_face_variables(model, keep_tokens=None):
    """Like `google_variables`, with the names of Hugging Face's format.

    Raises:
        ValueError: a layer that has a name in Google's format has none in this one.
    """
    return [
        CheckpointVariable(name, variable, *details)
        for _, name, variable, *details in _rows_of(
            model, keep_tokens, lambda blueprint: blueprint.hugging_face_mapping()
        )
    ]


def left_out(model):
    """Names of the layers of which some variables, those of conditions, have no name."""
    return [layer for _, layer, names, weights in _named_layers(model) if weights[len(names) :]]


def _rows_of(model, keep_tokens, other_table):
    """Google's name, the other name, variable and details of every variable with names."""
    found = {}
    for blueprint, layer, names, weights in _named_layers(model):
        own = blueprint.config["keep_tokens"]
        kept = own if keep_tokens is None else keep_tokens
        # a model built with `keep_tokens` knows the size of the vocabulary that they are of
        vocab_size = None if own is None else blueprint.config["vocab_size"]
        others = _names_in(other_table(blueprint), blueprint, layer, names)
        for name, other, variable in _triples(names, others, weights):
            details = (blueprint,)
            if layer in blueprint.vocabulary_layers:
                # a kernel has the tokens last, embeddings and offsets have them first
                axis = -1 if variable.name == "kernel" else 0
                details = (blueprint, axis, kept, vocab_size)
            found.setdefault(id(variable), (name, other, variable, *details))
    return list(found.values())


def _names_in(table, blueprint, layer, names):
    if table is None:
        return [None] * len(names)
    if len(table.get(layer, ())) != len(names):
        raise ValueError(
            f"`model` must have layers that Hugging Face's {blueprint.hugging_face_type!r} has. "
            f"Received: {layer}, for which {type(blueprint).__name__} has "
            f"{len(table.get(layer, ()))} names in that format instead of {len(names)}"
        )
    return table[layer]


def _named_layers(model):
    """Blueprint, layer's name, names of its variables, its weights, of every layer in a table."""
    for blueprint in blueprints_of(model) or [_by_names_alone(model)]:
        for layer_name, names in blueprint.variable_mapping().items():
            if layer_name not in blueprint.layers:
                continue
            weights = weights_of(blueprint.layers[layer_name])
            if len(names) > len(weights):
                raise ValueError(
                    f"`variable_mapping` of {type(blueprint).__name__} must have at most "
                    f"{len(weights)} names for {layer_name}. Received: {names}"
                )
            yield blueprint, layer_name, names, weights


def _triples(names, others, weights):
    """Names of tables and variables: by what they are called if that is clear, else in order."""
    ends = [name.split("/")[-1] for name in names]
    own = {variable.name: variable for _, variable in weights}
    if len(set(ends)) == len(ends) and set(ends) <= set(own) and len(own) == len(weights):
        variables = [own[end] for end in ends]
    else:
        variables = [variable for _, variable in weights[: len(names)]]
    return zip(names, others, variables, strict=True)


def _by_names_alone(model):
    """The blueprint of a BERT made of layers with bert4keras's names, by whomever; or nothing."""
    layers = {layer.name: layer for layer in backend.layers_of(model)}
    blocks = [re.match(r"Transformer-(\d+)-", name) for name in layers]
    depth = max((int(match.group(1)) for match in blocks if match), default=0) + 1
    blueprint = BertBlueprint(1, 1, depth, 1, 1)
    blueprint.layers, blueprint.model, blueprint.sealed = layers, model, True
    return blueprint
