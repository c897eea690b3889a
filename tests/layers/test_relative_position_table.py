"""The table of distances in files of weights."""

import numpy as np
import pytest
from contract import check_config, to_numpy

from kexue_keras.layers import RelativePositionTable, relative_positions


def test_passes_its_input_on():
    layer, x = RelativePositionTable(size=4), np.ones((2, 3, 8), "float32")
    check_config(layer)
    np.testing.assert_array_equal(to_numpy(layer(x)), x)
    assert not layer.weights and layer.compute_mask(x, "mask") == "mask"


def test_the_table_is_that_of_attention():
    ((name, table),) = RelativePositionTable(size=4, max_distance=3).bert4keras_weights()
    assert name == "embeddings" and table.shape == (7, 4)
    vectors = to_numpy(relative_positions(4, 4, size=4, max_distance=3))
    np.testing.assert_array_equal(table.value[[3, 4, 5, 6]], vectors[0])
    np.testing.assert_array_equal(table.value[[0, 1, 2, 3]], vectors[3])


def test_another_table_is_refused():
    ((_, table),) = RelativePositionTable(size=4, name="table").bert4keras_weights()
    table.assign(table.value + 1e-6)
    with pytest.raises(ValueError, match="`table/embeddings` must be the fixed table.*by 0.01"):
        table.assign(table.value + 0.01)
    with pytest.raises(ValueError, match="by nan"):
        table.assign(np.full_like(table.value, np.nan))
