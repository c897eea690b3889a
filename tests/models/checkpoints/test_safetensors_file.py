"""`safetensors` files: equal to what the library reads, and damage is named."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from kexue_keras.models import CheckpointError
from kexue_keras.models.checkpoints.safetensors_file import SafetensorsFile

pytestmark = pytest.mark.once


def write(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_what_the_library_writes_is_read(tmp_path):
    generator = np.random.default_rng(0)
    tensors = {
        f"{dtype}": (9 * generator.normal(size=(3, 4))).astype(dtype)
        for dtype in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8")
    }
    tensors |= {"empty": np.zeros((0, 3), "float32"), "scalar": np.array(3, "float32")}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt"})
    with SafetensorsFile(tmp_path / "a.safetensors") as file:
        assert sorted(file.keys()) == sorted(tensors) and file.metadata == {"format": "pt"}
        for name, value in tensors.items():
            assert name in file and file.shape(name) == value.shape
            found = file.read(name)
            assert found.dtype == np.float32 and found.flags.writeable
            np.testing.assert_array_equal(found, value.astype("float32"))


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    values = np.array([1.0, -2.5, 3.140625, 1e-38, np.inf, 0.0], "<f4")
    upper = (values.view("<u4") >> 16).astype("<u2")
    path = write(tmp_path / "a", {"x": entry("BF16", (2, 3), (0, 12))}, upper.tobytes())
    with SafetensorsFile(path) as file:
        expected = (upper.astype("<u4") << 16).view("<f4").reshape(2, 3)
        np.testing.assert_array_equal(file.read("x"), expected)
        assert file.read("x")[0, 2] == 3.140625


def test_files_cut_anywhere_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"x": np.ones((3, 5), "float32"), "y": np.ones(4, "float16")}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="a.safetensors is"):
            SafetensorsFile(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"not JSON", "no safetensors file: its header is no JSON"),
        (b"[]", "its header is no object"),
        ({"x": entry(shape=(3,))}, r"x of shape \(3,\) and dtype F32 has 8 bytes"),
        ({"x": entry(offsets=(4, 12))}, "cut off: x needs bytes .* to "),
        ({"x": entry(offsets=(8, 0))}, "x has a wrong place"),
        ({"x": entry(offsets=(-8, 0))}, "x has a wrong place"),
        ({"x": entry(shape=(-1, -2))}, "x has a wrong place"),
        ({"x": {"dtype": "F32"}}, "the entry of x: KeyError"),
        ({"x": 3}, "the entry of x: TypeError"),
    ],
)
def test_damaged_headers(tmp_path, header, message):
    path = write(tmp_path / "a", header, bytes(8))
    with pytest.raises(CheckpointError, match=f"/a is.*{message}"):
        SafetensorsFile(path)


def test_missing_files_and_tensors(tmp_path):
    with pytest.raises(CheckpointError, match="absent cannot be opened: No such file"):
        SafetensorsFile(tmp_path / "absent")
    with SafetensorsFile(write(tmp_path / "a", {"pooler.weight": entry()}, bytes(8))) as file:
        with pytest.raises(CheckpointError, match="no tensor pooler.weights among its 1. Closest"):
            file.read("pooler.weights")
