"""HDF5 files for reading: damage is named, errors of a program are not hidden."""

import h5py
import numpy as np
import pytest

from kexue_keras.models.checkpoints.hdf5 import Hdf5File
from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError

pytestmark = pytest.mark.once


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["names0"] = np.array([b"a", b"b"])
        file.attrs["names1"] = np.array([b"c"])
        file["group/inner/x"] = np.arange(6.0).reshape(2, 3)
        file["group"].attrs["weight_names"] = ["x:0"]
    return path


def test_reading(path):
    with Hdf5File(path) as file:
        assert file.names("/", "names") == ["a", "b", "c"]
        assert file.names("group", "weight_names") == ["x:0"]
        assert file.names("group", "nothing") == []
        assert file.datasets("group") == ["inner/x"]
        assert "group/inner" in file and "group/outer" not in file
        assert file.shape("group/inner/x") == (2, 3)
        assert file.read("group/inner/x").sum() == 15


def test_damage_is_named(path, tmp_path):
    with Hdf5File(path) as file:
        with pytest.raises(CheckpointError, match="model.h5 is damaged or no HDF5 file"):
            file.read("group/lost")
    text = tmp_path / "text.h5"
    text.write_text("no HDF5 at all")
    with pytest.raises(CheckpointError, match="text.h5 is damaged or no HDF5 file"):
        Hdf5File(text)


@pytest.mark.parametrize("error", [KeyError, RuntimeError, OSError])
def test_errors_of_the_program_are_not_blamed_on_the_file(path, error):
    with pytest.raises(error, match="ours"), Hdf5File(path):
        raise error("ours")
