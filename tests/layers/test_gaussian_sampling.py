"""Sampling by reparametrisation: the divergence, the draws, the gradient, the saved generator."""

import contract
import keras
import numpy as np
import pytest
from contract import to_numpy
from references import generative as reference

from kexue_keras import backend
from kexue_keras.layers import GaussianSampling

RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=(4, 3)).astype("float32")
LOG_VARIANCE = RNG.normal(size=(4, 3)).astype("float32")


def test_contract(tmp_path):
    arguments = ([MEAN, LOG_VARIANCE],), tmp_path
    contract.check_layer(GaussianSampling(0.5, seed=1), *arguments, length_axis=None)
    images = [x.reshape(2, 2, 3) for x in (MEAN, LOG_VARIANCE)]
    contract.check_unknown_length(GaussianSampling(), (images,))


def test_the_loss_is_the_mean_of_sums():
    layer = GaussianSampling(weight=0.7)
    for training in (False, True):
        layer([MEAN, LOG_VARIANCE], training=training)
        expected = 0.7 * reference.divergence(MEAN, LOG_VARIANCE).mean()
        assert float(sum(layer.losses)) == pytest.approx(expected, rel=1e-5)
    cube = [np.stack([x, x]).reshape(2, 4, 3) for x in (MEAN, LOG_VARIANCE)]
    layer(cube)
    assert float(sum(layer.losses)) == pytest.approx(4 * expected, rel=1e-5)


def test_the_divergence_equals_monte_carlo():
    mean, deviation = np.array([0.8, -1.1]), np.array([0.4, 1.7])
    z = mean + deviation * np.random.default_rng(1).normal(size=(400_000, 2))
    log_q = -0.5 * ((z - mean) / deviation) ** 2 - np.log(deviation)
    estimate = (log_q + 0.5 * z**2).sum(1).mean()
    found = GaussianSampling.divergence(mean[None], 2 * np.log(deviation)[None])
    assert float(found[0]) == pytest.approx(estimate, abs=0.01)


def test_the_divergence_is_zero_only_at_the_unit_circle_and_quadratic_around():
    grid = np.linspace(-1, 1, 21)
    mean, log_variance = (x.reshape(-1, 1) for x in np.meshgrid(grid, grid))
    found = to_numpy(GaussianSampling.divergence(mean, log_variance))
    zero = (mean[:, 0] == 0) & (np.abs(log_variance[:, 0]) < 1e-9)
    assert zero.sum() == 1 and (found[zero] == 0).all() and (found[~zero] > 1e-3).all()
    for mean, change in ((0.01, 0.0), (0.0, 0.01), (-0.01, -0.01), (0.01, -0.005)):
        found = GaussianSampling.divergence([[mean]], [[2 * np.log1p(change)]])
        assert float(found[0]) == pytest.approx(mean**2 / 2 + change**2, rel=0.02)


def test_samples_have_the_mean_and_variance_in_training_and_are_the_mean_else():
    layer = GaussianSampling(seed=3)
    mean, log_variance = (np.repeat(x[:1], 20_000, axis=0) for x in (MEAN, LOG_VARIANCE))
    found = to_numpy(layer([mean, log_variance], training=True))
    deviation = np.exp(LOG_VARIANCE[0] / 2)
    np.testing.assert_allclose((found.mean(0) - MEAN[0]) / deviation, 0, atol=0.03)
    np.testing.assert_allclose(found.std(0) / deviation, 1, atol=0.03)
    np.testing.assert_allclose(np.corrcoef(found.T) - np.eye(3), 0, atol=0.03)
    again = to_numpy(layer([mean, log_variance], training=True))
    assert np.abs(found - again).max() > 0.1
    np.testing.assert_array_equal(to_numpy(layer([mean, log_variance])), mean)
    same = to_numpy(GaussianSampling(seed=3)([mean, log_variance], training=True))
    np.testing.assert_array_equal(same, found)


def test_the_gradient_equals_differences_with_the_same_noise():
    layer = GaussianSampling(weight=0.3, seed=5)
    variables = [keras.Variable(MEAN), keras.Variable(LOG_VARIANCE)]
    start = to_numpy(layer.seed_generator.state.value).copy()

    def objective():
        z = layer([v.value for v in variables], training=True)
        return keras.ops.sum(keras.ops.sin(z)) + sum(layer.losses)

    def compute():
        with backend.undone([(layer.seed_generator.state, start)]):
            return backend.value_and_grad(objective, variables)()[1]

    gradients = contract.compile(compute, variables)()
    with backend.undone([(layer.seed_generator.state, start)]):
        z = to_numpy(layer([MEAN, LOG_VARIANCE], training=True)).astype("float64")
    noise = (z - MEAN) / np.exp(LOG_VARIANCE.astype("float64") / 2)

    def value(mean, log_variance):
        z = mean + np.exp(log_variance / 2) * noise
        return np.sin(z).sum() + 0.3 * reference.divergence(mean, log_variance).mean()

    points = [MEAN.astype("float64"), LOG_VARIANCE.astype("float64")]
    for which, gradient in enumerate(gradients):
        for place in np.ndindex(MEAN.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [x.copy() for x in points]
                moved[which][place] += step
                ends.append(value(*moved))
            slope = (ends[0] - ends[1]) / 2e-5
            assert float(gradient[place]) == pytest.approx(slope, abs=1e-4)


def test_the_state_of_the_generator_is_saved(tmp_path):
    inputs = [keras.Input((3,)), keras.Input((3,))]
    model = keras.Model(inputs, GaussianSampling(seed=2)(inputs))
    model([MEAN, LOG_VARIANCE], training=True)
    model.save(tmp_path / "model.keras")
    expected = to_numpy(model([MEAN, LOG_VARIANCE], training=True))
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    found = to_numpy(reloaded([MEAN, LOG_VARIANCE], training=True))
    np.testing.assert_array_equal(found, expected)


def test_errors():
    with pytest.raises(ValueError, match="`weight` must not be negative. Received: -1"):
        GaussianSampling(-1)
    with pytest.raises(
        ValueError, match="`inputs` must be the mean and the log variance.*Received"
    ):
        GaussianSampling()([MEAN, LOG_VARIANCE[:, :2]])
    with pytest.raises(
        ValueError, match="`inputs` must be the mean and the log variance.*Received"
    ):
        GaussianSampling()(MEAN)
