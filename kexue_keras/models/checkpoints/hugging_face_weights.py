"""The tensors in Hugging Face's `model.safetensors`, whole or in shards."""

import contextlib
import json
import os
import re

from kexue_keras.models.checkpoints.safetensors_file import SafetensorsFile
from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError

_OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}


class HuggingFaceWeights:
    """The tensors of one `safetensors` file or of all shards, with the interface of `TensorBundle`.

    Names lose `module.`, which PyTorch's DataParallel puts before them, and normalizations have
    `weight` and `bias` instead of the old `gamma` and `beta`.

    Args:
        path: path of a `.safetensors` file or of a `.safetensors.index.json`.

    Raises:
        CheckpointError: a file is missing or damaged, or the index names a tensor that is absent.

    Example:

    >>> import tempfile
    >>> import numpy as np
    >>> from safetensors.numpy import save_file
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> save_file({"module.bert.embeddings.LayerNorm.gamma": np.ones(3, "float32")}, path)
    >>> with HuggingFaceWeights(path) as file:
    ...     file.keys()
    ['bert.embeddings.LayerNorm.weight']
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        self._places = {}
        with contextlib.ExitStack() as stack:
            for file, names in self._shards(stack):
                for name in names:
                    new = _new_name(name)
                    if new not in self._places or new == name:
                        self._places[new] = (file, name)
            self._opened = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._opened.close()

    def __contains__(self, name):
        return name in self._places

    def keys(self):
        """The names of all tensors."""
        return list(self._places)

    def shape(self, name):
        """The shape of a tensor."""
        file, name = self._place(name)
        return file.shape(name)

    def check(self, name):
        """Raises what `read` would raise."""
        file, name = self._place(name)
        file.check(name)

    def read(self, name):
        """A tensor, as float32."""
        file, name = self._place(name)
        return file.read(name)

    def _place(self, name):
        if name not in self._places:
            raise CheckpointError(f"{self.path} has no tensor {name} among its {len(self._places)}")
        return self._places[name]

    def _shards(self, stack):
        """Every file, and the names in it."""
        if not self.path.endswith(".json"):
            file = stack.enter_context(SafetensorsFile(self.path))
            yield file, file.keys()
            return
        shards = {}
        for name, shard in _weight_map(self.path).items():
            shards.setdefault(shard, []).append(name)
        for shard, names in shards.items():
            path = os.path.join(os.path.dirname(self.path), shard)
            if not os.path.isfile(path):
                raise CheckpointError(f"{path} is missing: {self.path} needs it")
            file = stack.enter_context(SafetensorsFile(path))
            absent = [name for name in names if name not in file]
            if absent:
                raise CheckpointError(f"{path} has no tensor {absent[0]}, {self.path} needs it")
            yield file, names


def _weight_map(path):
    try:
        with open(path, encoding="utf-8") as file:
            index = json.load(file)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(x, str) for x in shards.values()):
        raise CheckpointError(f"{path} is no index of shards: it has no `weight_map` of file names")
    outside = [shard for shard in shards.values() if os.path.basename(shard) != shard]
    if outside:
        raise CheckpointError(f"{path} must name files of its own folder. Received: {outside[0]}")
    return shards


def _new_name(name):
    name = name.removeprefix("module.")
    for old, new in _OLD_ENDINGS.items():
        if re.search(rf"norm\w*\{old}$", name, re.IGNORECASE):
            return name.removesuffix(old) + new
    return name
