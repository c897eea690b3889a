"""`keras.models`, which finds what was saved under a name that Keras 3 does not take."""

import os
import warnings

import keras as _keras


def file_of(path, ending=".keras"):
    """The path with the ending that Keras 3 asks for; a notice says so where it was not there.

    Example:

    >>> file_of("model.keras")
    'model.keras'
    """
    path = os.fspath(path)
    if path.endswith(ending):
        return path
    warnings.warn(f"Keras 3 saves {path} as {path}{ending}", stacklevel=3)
    return path + ending


def load_model(filepath, *args, **kwargs):
    """Keras's, for a path with or without `.keras`."""
    if not os.path.isfile(filepath):
        filepath = file_of(filepath)
    return _keras.models.load_model(filepath, *args, **kwargs)


def __getattr__(name):
    return getattr(_keras.models, name)


def __dir__():
    return dir(_keras.models)
