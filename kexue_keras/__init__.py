"""Keras layers, losses, regularizers, decoding and recipes from the articles of kexue.fm.

Importing this package is fast: the subpackages (and with them Keras) load on first use.

Example:

>>> import kexue_keras
>>> kexue_keras.__version__
'0.1.0'
"""

import importlib
import os
import sys

if "tensorflow" not in sys.modules:
    # TensorFlow turns its faster matrix products on by itself on some processors only; with them a
    # training step takes four fifths of the time. To be without, set the variable to 0.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"

_SUBMODULES = (
    "activations",
    "backend",
    "datasets",
    "decoding",
    "equations",
    "experiments",
    "few_shot",
    "fine_tuning",
    "layers",
    "losses",
    "masked_numbers",
    "metrics",
    "models",
    "move_scorer",
    "ops",
    "patterns",
    "regularizers",
    "runs",
    "seq2seq",
    "similarity",
    "text_segments",
    "tokenizers",
    "xiangqi",
    "xiangqi_players",
)

__all__ = ["__version__", *_SUBMODULES]


def __getattr__(name):
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
