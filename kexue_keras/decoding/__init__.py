"""Decoding: cached, batched and compiled generation, prefix trees.

`PrefixTree` is pure NumPy: importing it from here loads no deep-learning framework.
"""

import importlib

_MODULES = {
    "AutoRegressiveDecoder": "auto_regressive",
    "Generator": "generator",
    "PrefixTree": "prefix_tree",
}

__all__ = ["AutoRegressiveDecoder", "Generator", "PrefixTree"]


def __getattr__(name):
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
