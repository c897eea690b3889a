"""Weights of losses: the reference in NumPy, limits, zeros."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops
from references import multitask

from kexue_keras import backend
from kexue_keras.training.task_weights import generalized_mean, generalized_mean_weights, inverse

LOSSES = np.array([0.3, 2.5, 1.0, 40.0], "float32")


@pytest.mark.parametrize("gamma", [-20, -1, -1e-6, 0, 1e-6, 0.5, 1, 2, 30])
def test_generalized_mean_and_its_derivatives(gamma):
    expected = multitask.generalized_mean(LOSSES, gamma)
    np.testing.assert_allclose(to_numpy(generalized_mean(LOSSES, gamma)), expected, rtol=1e-5)
    found = to_numpy(generalized_mean_weights(LOSSES, gamma))
    np.testing.assert_allclose(
        found, multitask.generalized_mean_weights(LOSSES, gamma), rtol=1e-4, atol=1e-30
    )


def test_small_exponents_come_to_the_geometric_mean():
    expected = float(generalized_mean(LOSSES, 0))
    assert float(generalized_mean(LOSSES, 1e-8)) == pytest.approx(expected, rel=1e-6)
    assert float(generalized_mean(LOSSES, -1e-8)) == pytest.approx(expected, rel=1e-6)
    means = [float(generalized_mean(LOSSES, gamma)) for gamma in (-200, -2, 0, 0.1, 1, 3, 200)]
    assert means == sorted(means)
    assert means[0] == pytest.approx(0.3, rel=0.01) and means[-1] == pytest.approx(40, rel=0.01)


def test_inverse_weights_make_the_gradient_of_the_sum_of_logarithms():
    """The value of sum L / stop_gradient(L) is n."""
    losses = keras.Variable(LOSSES)

    def objective():
        return ops.sum(losses * inverse(ops.stop_gradient(losses.value)))

    value, (gradient,) = backend.value_and_grad(objective, [losses])()
    assert float(value) == pytest.approx(4)
    np.testing.assert_allclose(to_numpy(gradient), 1 / LOSSES, rtol=1e-6)


def test_zeros_do_not_count():
    losses = np.array([0.5, 0.0, 2.0], "float32")
    np.testing.assert_allclose(to_numpy(inverse(losses)), [2, 0, 0.5])
    for gamma in (-1, 0, 0.5, 2):
        assert float(generalized_mean(losses, gamma)) == pytest.approx(
            float(generalized_mean(losses[::2], gamma)), rel=1e-6
        )
        found = to_numpy(generalized_mean_weights(losses, gamma))
        expected = to_numpy(generalized_mean_weights(losses[::2], gamma))
        np.testing.assert_allclose(found, [expected[0], 0, expected[1]], rtol=1e-5)
    zeros = np.zeros(2, "float32")
    np.testing.assert_array_equal(to_numpy(generalized_mean_weights(zeros, 0.5)), zeros)


def test_a_negative_loss_is_seen():
    losses = np.array([-1.0, 2.0], "float32")
    assert np.isnan(to_numpy(inverse(losses))).tolist() == [True, False]
    assert np.isnan(to_numpy(generalized_mean_weights(losses, 0.5))).any()
