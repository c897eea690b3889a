"""Google's checkpoints: TensorFlow's format, or the same names in an `.npz` file."""

import os

import numpy as np

from kexue_keras.files import replacing
from kexue_keras.models.checkpoints.names import names_of
from kexue_keras.models.checkpoints.tensor_bundle import write as write_bundle


def candidates(target):
    """The names that a variable may have in a file, the one that is written first.

    Args:
        target: a `CheckpointVariable`.
    """
    yield from names_of(target.name)


def write(model, path, targets):
    """Writes an `.npz` file, or both files of TensorFlow's format.

    Args:
        model: what `targets` are of.
        path: path of the `.npz` file, or the common prefix of the files.
        targets: list of `CheckpointVariable`.

    Raises:
        ValueError: two variables have the same name.
    """
    tensors = {str(target.name): target.to_checkpoint() for target in targets}
    if len(tensors) < len(targets):
        names = [str(target.name) for target in targets]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"`model` must have one BERT; save its parts one by one. Received: {twice} twice"
        )
    if not os.fspath(path).endswith(".npz"):
        write_bundle(path, tensors)
        return
    with replacing(path) as temporary:
        np.savez(temporary, **tensors)
