"""Readers of the data sets that the recipes use, `Batches` and `stack`.

Nothing but the last two, which load on first use, imports a deep-learning framework.
"""

import importlib

from kexue_keras.datasets.digits import load_digits
from kexue_keras.datasets.lines import DataError, LeftOutWarning, read_lines, read_objects
from kexue_keras.datasets.readers import (
    Triple,
    Triples,
    load_ape210k,
    load_fewclue,
    load_kgclue,
    load_labelled,
    load_pairs,
    load_qa,
    load_sentiment,
    load_xiangqi,
    split_subject,
)
from kexue_keras.datasets.split import split

__all__ = [
    "Batches",
    "DataError",
    "LeftOutWarning",
    "Triple",
    "Triples",
    "load_ape210k",
    "load_digits",
    "load_fewclue",
    "load_kgclue",
    "load_labelled",
    "load_pairs",
    "load_qa",
    "load_sentiment",
    "load_xiangqi",
    "read_lines",
    "read_objects",
    "split",
    "split_subject",
    "stack",
]


def __getattr__(name: str):
    if name in ("Batches", "stack"):
        return getattr(importlib.import_module("kexue_keras.datasets.batches"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
