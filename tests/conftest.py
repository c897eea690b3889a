"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# as the recipes set it for themselves
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# programs are compiled for one use here: to compile fast counts, not to run fast
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real data and checkpoints, `$KEXUE_SHARED` or `../shared`."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("KEXUE_SHARED") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (set KEXUE_SHARED)")
    return folder


# What runs no tensors, or the real command of a recipe, is tested once, not on every backend.
_ONCE = (
    "tests/decoding/constraints/test_host.py",
    "tests/decoding/prefix_tree/",
    "tests/decoding/test_auto_regressive.py",
    "tests/equations/",
    "tests/metrics/",
    "tests/models/checkpoints/test_protobuf.py",
    "tests/models/checkpoints/test_sorted_string_table.py",
    "tests/models/checkpoints/test_tensor_bundle.py",
    "tests/datasets/test_lines.py",
    "tests/datasets/test_readers.py",
    "tests/datasets/test_split.py",
    "tests/experiments/test_schedules.py",
    "tests/parity/",
    "tests/recipes/",
    "tests/test_knowledge_base.py",
    "tests/test_sample_data.py",
    "tests/test_similarity.py",
    "tests/tokenizers/",
    "tests/test_files.py",
    "tests/test_patterns.py",
    "tests/test_readme.py",
    "tests/test_structure.py",
    "tests/xiangqi/test_board.py",
    "tests/xiangqi/test_moves.py",
    "tests/xiangqi/test_notation.py",
    "tests/xiangqi/test_players.py",
)


@pytest.fixture(autouse=True)
def _eager(request, monkeypatch):
    """Tests marked `eager` train so few steps that tracing would be most of their time.

    So they train without graphs. What models learn and how fits compile is tested elsewhere.
    """
    if request.node.get_closest_marker("eager") is None:
        return
    import keras

    if keras.backend.backend() == "jax":  # has every operation compiled, one by one
        return

    compile_ = keras.Model.compile

    def compile(self, *args, **kwargs):
        return compile_(self, *args, **{**kwargs, "run_eagerly": True, "jit_compile": False})

    monkeypatch.setattr(keras.Model, "compile", compile)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid.startswith(_ONCE):
            item.add_marker(pytest.mark.once)
