"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real data and checkpoints, `$KEXUE_SHARED` or `../shared`."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("KEXUE_SHARED") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (set KEXUE_SHARED)")
    return folder
