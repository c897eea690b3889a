"""Distances of batches, and the history of a critic's estimates beside them."""

import keras
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from kexue_keras import models
from kexue_keras.experiments.transport import (
    DistanceHistory,
    distance_of_batches,
    exact_distance,
    normal_generator,
)


def test_the_exact_distance_is_that_of_the_best_assignment():
    x, y = np.random.default_rng(0).normal(size=(2, 20, 3))
    cost = cdist(x, y)
    expected = cost[linear_sum_assignment(cost)].mean()
    assert exact_distance(x, y) == pytest.approx(expected)
    found = distance_of_batches(x, y, 6)
    parts = [exact_distance(x[i : i + 6], y[i : i + 6]) for i in (0, 6, 12)]
    assert found == pytest.approx(np.mean(parts)) and found > expected
    assert distance_of_batches(x, y, 100) == pytest.approx(expected)


def test_the_history_compares_the_same_batches():
    """The estimate of a c-transform is below; the last numbers are those of the trained model."""
    generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    critic = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    gan = models.WassersteinGAN(generator, critic, "c_transform", critic_steps=1, seed=0)
    gan.compile("adam")
    x = np.random.default_rng(1).normal(size=(10, 3)).astype("float32")
    history = DistanceHistory(x, 4, seed=5)
    gan.fit(x, batch_size=5, epochs=2, verbose=0, callbacks=[history])
    assert len(history.estimated) == len(history.exact) == 2
    assert all(a <= b + 1e-5 for a, b in zip(history.estimated, history.exact, strict=True))
    made = gan.sample(8, 5)
    pairs = [(x[:4], made[:4]), (x[4:8], made[4:])]
    expected = np.mean([gan.distance(*pair) for pair in pairs])
    assert history.estimated[-1] == pytest.approx(expected, rel=1e-5)
    assert history.exact[-1] == pytest.approx(np.mean([exact_distance(*pair) for pair in pairs]))


def test_the_normal_generator_has_the_mean_and_the_covariance_of_samples():
    x = np.random.default_rng(2).normal(size=(30, 4)) @ np.triu(np.ones((4, 4))) + 1
    root, mean = normal_generator(x).get_weights()
    np.testing.assert_allclose(root.T @ root, np.cov(x.T), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-5)
