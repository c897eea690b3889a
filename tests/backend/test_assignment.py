"""Values assigned by rows, in place where that is possible."""

import keras
import numpy as np
import pytest
from contract import to_numpy

from kexue_keras.backend import assign_by_rows, assignment


@pytest.mark.parametrize("shape", [(), (7,), (7, 3), (8, 2, 2), (0, 3)])
@pytest.mark.parametrize("piece", [1, 24, 1 << 22])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_whole_value_arrives(monkeypatch, shape, piece, dtype):
    monkeypatch.setattr(assignment, "_PIECE_BYTES", piece)
    value = np.arange(np.prod(shape, dtype=int), dtype="float32").reshape(shape)
    variable = keras.Variable(np.full(shape, -1.0), dtype=dtype)
    asked = []

    def rows(start, stop):
        asked.append((start, stop))
        return value[start:stop] if shape else value

    assign_by_rows(variable, rows)
    assert variable.dtype == dtype
    np.testing.assert_array_equal(to_numpy(keras.ops.cast(variable.value, "float32")), value)
    if keras.backend.backend() == "tensorflow" and shape == (7, 3):
        assert len(asked) == {1: 7, 24: 4, 1 << 22: 1}[piece]
