"""Bytes of files in aligned arrays."""

import numpy as np
import pytest

from kexue_keras.models.checkpoints.raw_bytes import read_bytes

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("offset", "size", "length"),
    [(0, 0, 0), (0, 200, 200), (7, 50, 50), (190, 50, 10), (300, 4, 0)],
)
def test_aligned_and_as_many_as_there_are(tmp_path, offset, size, length):
    values = np.random.default_rng(0).integers(0, 256, 200).astype("uint8")
    values.tofile(tmp_path / "a")
    found = read_bytes(tmp_path / "a", offset, size)
    np.testing.assert_array_equal(found, values[offset : offset + size])
    assert len(found) == length and found.flags.writeable
    assert found.ctypes.data % 64 == 0
