"""HDF5 files as Keras 2 writes them, opened for reading."""

import contextlib

import h5py
import numpy as np

from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError


class Hdf5File:
    """Names, shapes and arrays of an HDF5 file; what is damaged in it is a `CheckpointError`.

    Use it as a context manager.

    Args:
        path: path of the file.
    """

    def __init__(self, path):
        self.path = path
        with self._damage():
            self._file = h5py.File(path, "r")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def __contains__(self, name):
        with self._damage():
            return name in self._file

    def datasets(self, name):
        """Names of all arrays in a group, from that group on."""
        with self._damage():
            group, found = self._file[name], []
            group.visit(found.append)
            return [inside for inside in found if isinstance(group[inside], h5py.Dataset)]

    def names(self, group, attribute):
        """A list of names; Keras spreads a long one over several attributes."""
        with self._damage():
            attributes = dict(self._file[group].attrs)
        if attribute in attributes:
            found = [attributes[attribute]]
        else:
            numbered = (f"{attribute}{i}" for i in range(len(attributes)))
            found = [attributes[name] for name in numbered if name in attributes]
        texts = [text for part in found for text in part]
        return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]

    def shape(self, name):
        """Shape of an array."""
        with self._damage():
            return tuple(self._file[name].shape)

    def check(self, name):
        """Raises what `read` would raise."""
        self.read(name)

    def read(self, name):
        """An array."""
        with self._damage():
            return np.array(self._file[name])

    @contextlib.contextmanager
    def _damage(self):
        """Only around calls of h5py, which are all that can find the file damaged."""
        try:
            yield
        except (OSError, KeyError, RuntimeError) as error:
            raise CheckpointError(f"{self.path} is damaged or no HDF5 file: {error}") from error
