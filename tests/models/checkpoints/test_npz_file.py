"""NumPy's archives as checkpoints; damage is tested with models in test_google.py."""

import numpy as np
import pytest

from kexue_keras.models import CheckpointError
from kexue_keras.models.checkpoints.npz_file import NpzFile

pytestmark = pytest.mark.once


def test_shapes_and_arrays(tmp_path):
    path = str(tmp_path / "a.npz")
    np.savez(path, **{"dense/kernel": np.arange(6.0).reshape(2, 3), "step": np.int64(7)})
    with NpzFile(path) as file:
        assert "step" in file and "steps" not in file
        assert file.shape("dense/kernel") == (2, 3) and file.shape("step") == ()
        assert file.read("dense/kernel").dtype == np.float32
        file.check("step")
        for call in (file.shape, file.read, file.check):
            with pytest.raises(CheckpointError, match="a.npz has no variable steps"):
                call("steps")


def test_shapes_are_known_without_reading(tmp_path, monkeypatch):
    path = str(tmp_path / "a.npz")
    np.savez(path, x=np.zeros((2, 3)))
    with NpzFile(path) as file:
        monkeypatch.setattr(NpzFile, "read", None)
        assert file.shape("x") == (2, 3)
