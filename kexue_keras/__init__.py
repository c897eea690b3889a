"""Keras layers, losses, regularizers, decoding and recipes from the articles of kexue.fm.

Importing this package is fast: the subpackages (and with them Keras) load on first use.

Example:

>>> import kexue_keras
>>> kexue_keras.__version__
'0.1.0'
"""

import importlib

__version__ = "0.1.0"

_SUBMODULES = (
    "activations",
    "analysis",
    "compat",
    "datasets",
    "decoding",
    "equations",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "regularizers",
    "similarity",
    "tokenizers",
    "training",
    "xiangqi",
)

__all__ = ["__version__", *_SUBMODULES]


def __getattr__(name):
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
