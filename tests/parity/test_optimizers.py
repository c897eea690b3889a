"""AdaFactor against bert4keras's, step by step with the same gradients."""

import keras
import numpy as np
import pytest

from kexue_keras.optimizers import AdaFactor

pytestmark = pytest.mark.parity

RNG = np.random.default_rng(0)
# factored either way round, with other axes between or before; not factored
SHAPES = [(130, 140), (140, 130), (130, 127), (6,), (2, 128, 3, 129)]
STEPS = 5
# far above 1e-15, where bert4keras's second epsilon1 of 1e-30 would begin to count
GRADIENTS = [RNG.normal(size=(STEPS, *shape)).astype("float32") for shape in SHAPES]
WEIGHTS = [RNG.normal(size=shape).astype("float32") for shape in SHAPES]


def path_of_ours(weights, gradients, **config):
    variables = [keras.Variable(weight) for weight in weights]
    optimizer, path = AdaFactor(**config), []
    for step in range(len(gradients[0])):
        found = [keras.ops.convert_to_tensor(g[step]) for g in gradients]
        optimizer.apply(found, variables)
        path.append([keras.ops.convert_to_numpy(v.value) for v in variables])
    return [np.array([values[i] for values in path]) for i in range(len(weights))]


def path_of_bert4keras(bert4keras, weights, gradients, **config):
    arrays = {f"weight_{i}": weight for i, weight in enumerate(weights)}
    arrays |= {f"gradient_{i}": gradient for i, gradient in enumerate(gradients)}
    steps = len(gradients[0])
    found = bert4keras.run("optimize", arrays, name="AdaFactor", steps=steps, config=config)
    return [found[f"path_{i}"] for i in range(len(weights))]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"learning_rate": 0.1, "beta1": 0.9},
        {"learning_rate": None},
        {"learning_rate": 0.1, "beta2": 0.9, "clipping_threshold": None, "epsilon2": 3.0},
        {"multiply_by_parameter_scale": False, "min_dim_size_to_factor": 129},
    ],
)
def test_the_first_steps(bert4keras, config):
    found = path_of_ours(WEIGHTS, GRADIENTS, **config)
    expected = path_of_bert4keras(bert4keras, WEIGHTS, GRADIENTS, **config)
    for x, y, start in zip(found, expected, WEIGHTS, strict=True):
        assert np.abs(y[-1] - start).max() > 1e-4
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1e-10, 1e-15, 1e-16])
def test_its_second_epsilon_counts_for_tiny_gradients(bert4keras, size):
    """The only difference in the formula: g^2 + epsilon1 below the root there, twice epsilon1."""
    weights = [np.ones(4, "float32")]
    gradients = [np.full((1, 4), size, "float32")]
    config = {"learning_rate": 0.1, "epsilon1": 1e-30, "clipping_threshold": None}
    ours = 1 - path_of_ours(weights, gradients, **config)[0][0]
    theirs = 1 - path_of_bert4keras(bert4keras, weights, gradients, **config)[0][0]
    root = np.sqrt(size**2 + 1e-30)
    np.testing.assert_allclose(ours, 0.1 * size / root, rtol=1e-4, atol=1e-6)
    root = np.sqrt(size**2 + 2e-30)
    np.testing.assert_allclose(theirs, 0.1 * size / root, rtol=1e-4, atol=1e-6)
    if size < 1e-10:
        assert (theirs <= ours).all()


def test_its_relative_step_is_twenty_times_shorter_without_the_scale(bert4keras):
    config = {"learning_rate": None, "multiply_by_parameter_scale": False}
    ours = path_of_ours(WEIGHTS[3:4], GRADIENTS[3:4], **config)[0] - WEIGHTS[3]
    theirs = path_of_bert4keras(bert4keras, WEIGHTS[3:4], GRADIENTS[3:4], **config)[0] - WEIGHTS[3]
    np.testing.assert_allclose(theirs * 20, ours, rtol=1e-2, atol=1e-5)
