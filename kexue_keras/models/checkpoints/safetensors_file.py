"""Files in the `safetensors` format, read tensor by tensor without mapping them into memory.

A file is the length of its header (8 bytes, little endian), the header, a JSON object of names with
dtype, shape and place, and the tensors one after another.

Reference: https://huggingface.co/docs/safetensors
"""

import difflib
import json
import math
import os

import numpy as np

from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError

_LARGEST_HEADER = 100_000_000
_BFLOAT16 = "BF16"
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    _BFLOAT16: "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


class SafetensorsFile:
    """A `safetensors` file opened for reading, with the interface of `TensorBundle`.

    Args:
        path: path of the file.

    Raises:
        CheckpointError: the file is missing, cut off or no such file.

    Attributes:
        metadata: what was written beside the tensors, a dict of strings.

    Example:

    >>> import os, tempfile
    >>> from safetensors.numpy import save_file
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> save_file({"pooler.dense.bias": np.zeros(3, "float16")}, path)
    >>> with SafetensorsFile(path) as file:
    ...     file.keys(), file.shape("pooler.dense.bias"), file.read("pooler.dense.bias").dtype.name
    (['pooler.dense.bias'], (3,), 'float32')
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        try:
            self._stream = open(self.path, "rb", buffering=0)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be opened: {error.strerror}") from error
        try:
            header = self._read_header()
            self.metadata = header.pop("__metadata__", {})
            self._entries = {name: self._entry(name, value) for name, value in header.items()}
        except CheckpointError:
            self._stream.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._stream.close()

    def __contains__(self, name):
        return name in self._entries

    def keys(self):
        """The names of all tensors, in the order of the file."""
        return list(self._entries)

    def shape(self, name):
        """The shape of a tensor."""
        return self._found(name)[1]

    def check(self, name):
        """Raises what `read` would raise; the format has no checksums."""
        dtype = self._found(name)[0]
        if dtype not in _DTYPES:
            raise CheckpointError(
                f"{self.path}: {name} has dtype {dtype}, which is not read; these are: "
                f"{', '.join(_DTYPES)}"
            )

    def read(self, name):
        """A tensor, as float32."""
        self.check(name)
        dtype, shape, start, _ = self._found(name)
        self._stream.seek(start)
        array = np.fromfile(self._stream, _DTYPES[dtype], math.prod(shape))
        if array.size != math.prod(shape):
            raise CheckpointError(f"{self.path} was cut off while {name} was read")
        array = array.reshape(shape)
        if dtype == _BFLOAT16:  # the upper half of a float32
            array = array.astype("<u4")
            array <<= 16
            return array.view("<f4")
        return array.astype("float32", copy=False)

    def _found(self, name):
        if name in self._entries:
            return self._entries[name]
        close = difflib.get_close_matches(name, self._entries, n=3, cutoff=0.5)
        hint = f". Closest names: {', '.join(close)}" if close else ""
        raise CheckpointError(
            f"{self.path} has no tensor {name} among its {len(self._entries)}{hint}"
        )

    def _read_header(self):
        size = os.fstat(self._stream.fileno()).st_size
        length = int.from_bytes(self._stream.read(8), "little")
        if size < 8 or length > min(size - 8, _LARGEST_HEADER):
            raise CheckpointError(f"{self.path} is cut off or no safetensors file: {size} bytes")
        self._start, self._end = 8 + length, size
        try:
            header = json.loads(self._stream.read(length))
        except ValueError as error:
            raise CheckpointError(
                f"{self.path} is no safetensors file: its header is no JSON: {error}"
            ) from error
        if not isinstance(header, dict):
            raise CheckpointError(f"{self.path} is no safetensors file: its header is no object")
        return header

    def _entry(self, name, value):
        """Dtype, shape, first byte and the byte after the last one, of a tensor."""
        try:
            dtype, shape = value["dtype"], tuple(value["shape"])
            start, end = (self._start + offset for offset in value["data_offsets"])
            whole = all(isinstance(number, int) and number >= 0 for number in (*shape, start, end))
        except (TypeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{self.path} is damaged: the entry of {name}: {error!r}"
            ) from error
        if not whole or not self._start <= start <= end:
            raise CheckpointError(f"{self.path} is damaged: {name} has a wrong place {value}")
        if end > self._end:
            raise CheckpointError(
                f"{self.path} is cut off: {name} needs bytes {start} to {end}, the file has "
                f"{self._end}"
            )
        if dtype in _DTYPES and math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize != end - start:
            raise CheckpointError(
                f"{self.path} is damaged: {name} of shape {shape} and dtype {dtype} has "
                f"{end - start} bytes"
            )
        return dtype, shape, start, end
