"""Weights in and out of any model that holds a transformer of ours, in every format."""

import os
import warnings

from kexue_keras.models.checkpoints import formats, google, hugging_face
from kexue_keras.models.checkpoints.bert4keras import (
    load_bert4keras_weights,
    save_bert4keras_weights,
)
from kexue_keras.models.checkpoints.checkpoint_variable import (
    google_variables,
    hugging_face_variables,
    left_out,
)
from kexue_keras.models.checkpoints.filling import fill
from kexue_keras.models.checkpoints.hugging_face_weights import HuggingFaceWeights
from kexue_keras.models.checkpoints.npz_file import NpzFile
from kexue_keras.models.checkpoints.tensor_bundle import TensorBundle
from kexue_keras.models.checkpoints.weights import refuse_lora

# what opens a file, the variables of a model that are in it, and their names
_READERS = {
    formats.GOOGLE: (TensorBundle, google_variables, google.candidates),
    formats.NUMPY: (NpzFile, google_variables, google.candidates),
    formats.HUGGING_FACE: (HuggingFaceWeights, hugging_face_variables, hugging_face.candidates),
}


def load_checkpoint(model, path, keep_tokens=None):
    """Loads pretrained weights into a model, all variables or none. What is there says the format:

    - Google's TensorFlow format (`path` is the common prefix of its files, as `bert_model.ckpt`, or
      its `.index`), or an `.npz` file with the same names;
    - Hugging Face's: a folder with `model.safetensors` or `model.safetensors.index.json` (shards),
      or one of these files. float16 and bfloat16 become float32;
    - bert4keras's: what its `model.save_weights` wrote, see `load_bert4keras_weights`. These files
      hold all of a model, its heads too.

    The files are read without TensorFlow and PyTorch, one array in memory at a time. Variables of
    the checkpoint that the model has no layer for (the masked-LM head of a plain encoder, the
    optimizer's state, buffers) are not read.

    Args:
        model: a model of `build_transformer_model`, or one built on top of it.
        path: path of a file or folder, or prefix of files.
        keep_tokens: ids of the tokens to keep; by default those the model was built with. Not for
            bert4keras's files, which hold only what it kept.

    Raises:
        CheckpointError: a file is missing, cut off, damaged or of a format that is not read; a
            variable is missing or has another shape. The message names the file, the variable and
            both shapes; the model is unchanged. `pytorch_model.bin` is a pickle: the message has
            the command that converts it.
        ValueError: no layer has a name of bert4keras, or `keep_tokens` are no ids.

    Example:

    >>> import os, tempfile
    >>> from kexue_keras import models
    >>> folder = tempfile.mkdtemp()
    >>> for name in ("model.ckpt", "model.safetensors", "model.h5"):
    ...     models.save_checkpoint(models.Bert(20, 8, 1, 2, 16), os.path.join(folder, name))
    ...     models.load_checkpoint(models.Bert(20, 8, 1, 2, 16), os.path.join(folder, name))
    """
    if keep_tokens is not None and min(keep_tokens, default=-1) < 0:
        raise ValueError(f"`keep_tokens` must be ids. Received: {min(keep_tokens, default='none')}")
    refuse_lora(model)
    _check_transformer(model)
    kind, path = formats.format_of(path)
    if kind == formats.BERT4KERAS:
        if keep_tokens is not None:
            raise ValueError(
                "`keep_tokens` must be left out with bert4keras's files, which hold only what it "
                f"kept. Received: {len(keep_tokens)} ids and {path}"
            )
        load_bert4keras_weights(model, path)
        return
    reader, variables, candidates = _READERS[kind]
    with reader(path) as archive:
        fill(variables(model, keep_tokens), archive, candidates)


def save_checkpoint(model, path):
    """Saves a model's weights in the format that the ending of the path names.

    Files are written under temporary names and renamed, so an interrupted call leaves an older
    checkpoint whole.

    Args:
        model: a model of `build_transformer_model`, or one built on top of it.
        path: one of

            - a path that ends in `.safetensors`, or an existing folder, in which
              `model.safetensors` is written: Hugging Face's format, with `config.json` beside it;
            - one that ends in `.h5`: bert4keras's HDF5, see `save_bert4keras_weights`;
            - one that ends in `.npz`: a NumPy file with Google's names;
            - any other: the common prefix of the files of Google's TensorFlow format.

    Raises:
        ValueError: no layer has a name of bert4keras, two have the same (two BERTs in one model), a
            kernel has a LoRA, which no format has a place for, or the model has something that
            Hugging Face's family has not.

    A warning names the layers of which variables are left out, those of conditions.

    Example: see `load_checkpoint`.
    """
    path = os.fspath(path)
    refuse_lora(model)
    _check_transformer(model)
    if path.endswith(".h5"):
        save_bert4keras_weights(model, path)
        return
    if os.path.isdir(path):
        path = os.path.join(path, hugging_face.WEIGHTS)
    if path.endswith(".safetensors"):
        write, variables = hugging_face.write, hugging_face_variables
    else:
        write, variables = google.write, google_variables
    write(model, path, variables(model))
    without = left_out(model)
    if without:
        warnings.warn(
            f"{path}: the format has no place for some variables of {len(without)} layers, as the "
            f"projections of conditions: {', '.join(without)}",
            stacklevel=2,
        )


def _check_transformer(model):
    if not google_variables(model):
        raise ValueError(
            "`model` must have layers with bert4keras's names, as build_transformer_model makes. "
            f"Received: {model.name!r} without any"
        )
