"""The initializer of RoFormerV2: deviations of kernels and tables."""

import keras
import numpy as np
import pytest
from contract import to_numpy

from kexue_keras.models.width_scaled_normal import WidthScaledNormal


@pytest.mark.parametrize(
    ("shape", "width"), [((400, 100), 400), ((5, 8000), 8000), ((10001, 9), 9)]
)
def test_deviations(shape, width):
    found = to_numpy(WidthScaledNormal(depth=9, seed=0)(shape))
    assert np.std(found) == pytest.approx(1 / np.sqrt(width) / 3, rel=0.02)
    assert np.abs(found).max() <= 2 * 1.13684723 / np.sqrt(width) / 3 * 1.0001


def test_order_seed_and_config():
    assert np.std(to_numpy(WidthScaledNormal(8, order=3, seed=1)((100, 200)))) == pytest.approx(
        1 / 10 / 2, rel=0.02
    )
    one, two = (to_numpy(WidthScaledNormal(2, seed=5)((3, 4))) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    free = WidthScaledNormal(2)
    assert np.abs(to_numpy(free((3, 4))) - to_numpy(free((3, 4)))).max() > 0
    again = keras.initializers.get(keras.initializers.serialize(WidthScaledNormal(2, 3, 4)))
    assert again.get_config() == {"depth": 2, "order": 3, "seed": 4}
    with pytest.raises(ValueError, match="`depth` must be at least 1. Received: 0"):
        WidthScaledNormal(0)
