"""The fixture `peer`: asks transformers in a process of its own (see reference.py)."""

import importlib.util
from pathlib import Path

import pytest
from reference_process import ReferenceProcess


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    """transformers on PyTorch."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"no {package}: `make test-peers` installs it")
    program = Path(__file__).with_name("reference.py")
    reference = ReferenceProcess(program, tmp_path_factory.mktemp("peer"))
    yield reference
    reference.close()
