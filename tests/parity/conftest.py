"""The fixture `bert4keras`: asks bert4keras 0.11.5 in a process of its own (see reference.py)."""

from pathlib import Path

import pytest
from reference_process import ReferenceProcess

PROGRAM = Path(__file__).with_name("reference.py")


@pytest.fixture(scope="session")
def bert4keras(tmp_path_factory):
    """bert4keras on TensorFlow 2 with eager variables."""
    reference = ReferenceProcess(PROGRAM, tmp_path_factory.mktemp("bert4keras"))
    yield reference
    reference.close()


@pytest.fixture(scope="session")
def bert4keras_graph(tmp_path_factory):
    """bert4keras in TensorFlow 1's graph mode, which `save_checkpoint` needs."""
    directory = tmp_path_factory.mktemp("bert4keras_graph")
    reference = ReferenceProcess(PROGRAM, directory, REFERENCE_GRAPH_MODE="1")
    yield reference
    reference.close()
