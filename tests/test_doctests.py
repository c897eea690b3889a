"""The examples of all docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import kexue_keras

MODULES = sorted(m.name for m in pkgutil.walk_packages(kexue_keras.__path__, "kexue_keras."))


@pytest.mark.parametrize("name", ["kexue_keras", *MODULES])
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
