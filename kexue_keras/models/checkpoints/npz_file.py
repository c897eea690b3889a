"""Checkpoints in NumPy's `.npz` format."""

import zipfile
import zlib

import numpy as np

from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError

_DAMAGE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


class NpzFile:
    """An `.npz` file with the reading interface of `TensorBundle`.

    Args:
        path: path of the file.

    Raises:
        CheckpointError: it is missing, cut off or no such file.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
    >>> np.savez(path, **{"dense/bias": np.zeros(3)})
    >>> with NpzFile(path) as file:
    ...     file.shape("dense/bias"), file.read("dense/bias").dtype.name
    ((3,), 'float32')
    """

    def __init__(self, path):
        self.path = path
        try:
            self._stream = open(path, "rb")
        except OSError as error:
            raise CheckpointError(f"{path} cannot be opened: {error.strerror}") from error
        try:
            self._file = np.load(self._stream, allow_pickle=False)
        except _DAMAGE as error:
            self._stream.close()
            raise CheckpointError(f"{path} is cut off or not an .npz file: {error}") from error
        if not isinstance(self._file, np.lib.npyio.NpzFile):
            self._stream.close()
            raise CheckpointError(f"{path} is not an .npz file: it holds a single array")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()
        self._stream.close()

    def __contains__(self, name):
        return name in self._file

    def shape(self, name):
        """The shape of an array, of which only the header is read."""
        self._check_name(name)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        try:
            with self._file.zip.open(f"{name}.npy") as stream:
                version = np.lib.format.read_magic(stream)
                if version in readers:
                    return readers[version](stream)[0]
            return self._file[name].shape
        except _DAMAGE as error:
            raise CheckpointError(f"{self.path}: {name} is damaged: {error}") from error

    def check(self, name):
        """Raises what `read` would raise."""
        self.read(name)

    def read(self, name):
        """An array, as float32."""
        self._check_name(name)
        try:
            return np.asarray(self._file[name], "float32")
        except _DAMAGE as error:
            raise CheckpointError(f"{self.path}: {name} is damaged: {error}") from error

    def _check_name(self, name):
        if name not in self:
            raise CheckpointError(f"{self.path} has no variable {name}")
