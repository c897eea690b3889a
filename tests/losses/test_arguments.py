import numpy as np
import pytest

from kexue_keras.losses.arguments import (
    check_same_shape,
    check_scale,
    refuse_sample_weight,
    same_shape,
)


@pytest.mark.parametrize(
    "shape, other, same",
    [
        ((2, 3), (2, 3), True),
        ((None, 3), (2, None), True),
        ((), (), True),
        ((1, 3), (2, 3), False),
        ((2,), (2, 3), False),
        ((None, 3), (2, 4), False),
    ],
)
def test_same_shape(shape, other, same):
    assert same_shape(shape, other) == same_shape(other, shape) == same


def test_errors():
    check_same_shape(np.ones((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"y_true.shape=\(3,\), y_pred.shape=\(2, 3\)"):
        check_same_shape(np.ones(3), np.ones((2, 3)))
    refuse_sample_weight(None, "no")
    with pytest.raises(ValueError, match=r"not supported: no. Received: .* of shape \(2,\)"):
        refuse_sample_weight([1.0, 1.0], "no")
    check_scale(0.5)
    for scale in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=f"`scale` must be positive. Received: {scale}"):
            check_scale(scale)
