"""Weighted means of a batch, as Keras's losses have them."""

import keras
import numpy as np
import pytest
from contract import to_numpy

from kexue_keras.training.batch_weights import batch_mean, batch_weights

Y_PRED = np.zeros((4, 2), "float32")


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_the_mean_is_that_of_keras(shape):
    generator = np.random.default_rng(0)
    y_true = generator.normal(size=(4, 2)).astype("float32")
    weights = generator.uniform(size=shape)
    expected = keras.losses.MeanSquaredError()(y_true, Y_PRED, weights.ravel())
    values = (y_true**2).mean(-1)
    found = batch_mean(values, batch_weights(weights, [Y_PRED, Y_PRED]))
    np.testing.assert_allclose(to_numpy(found), to_numpy(expected), rtol=1e-6)


def test_no_weights_are_ones_and_others_are_refused():
    np.testing.assert_array_equal(to_numpy(batch_weights(None, {"a": Y_PRED})), np.ones(4))
    with pytest.raises(ValueError, match=r"`sample_weight` must be.*Received: \(4, 2\)"):
        batch_weights(np.ones((4, 2)), Y_PRED)
