"""Arrays that grow."""

import numpy as np

from kexue_keras.decoding.prefix_tree.growing import Growing


def test_values_stay_while_the_buffer_grows():
    column, expected = Growing("u4"), []
    for size in (0, 1, 1000, 30, 5000, 0, 2):
        values = np.arange(size) + len(expected)
        column.extend(values)
        expected += values.tolist()
        assert column.size == len(expected) and column.values.tolist() == expected
    assert column.values.dtype == np.uint32
