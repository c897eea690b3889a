"""The entropy by nearest neighbours: numbers, laws, gradients, near and equal samples."""

import math
import subprocess
import sys

import keras
import numpy as np
import pytest
from contract import compile, to_numpy
from references import generative as reference

from kexue_keras import backend, losses
from kexue_keras.losses.knn_entropy import digamma

RNG = np.random.default_rng(0)
SAMPLES = RNG.normal(size=(40, 3)).astype("float32")


def value_and_gradient(samples, k=1):
    variable = keras.Variable(np.asarray(samples, "float32"))
    compute = backend.value_and_grad(lambda: losses.knn_entropy(variable.value, k), [variable])
    value, (gradient,) = compile(compute, [variable])()
    return float(value), to_numpy(gradient)


def entropy(samples, k=1):
    x = keras.ops.convert_to_tensor(np.asarray(samples, "float32"))
    return float(backend.one_program(lambda x: losses.knn_entropy(x, k))(x))


@pytest.mark.parametrize("k", [1, 3])
def test_equals_the_formula_and_its_gradient_over_all_pairs(k):
    value, gradient = value_and_gradient(SAMPLES, k)
    assert value == pytest.approx(reference.knn_entropy(SAMPLES, k), rel=1e-6)
    expected = reference.knn_entropy_gradient(SAMPLES, k)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("d", [1, 2, 5, 10])
def test_normal_distributions(d, k):
    """2000 samples: what remains is the spread of the estimate, and its bias."""
    found = entropy(np.random.default_rng(d).normal(size=(2000, d)), k)
    assert found == pytest.approx(d * reference.NORMAL, abs=0.12)


def test_the_uniform_distribution_on_the_cube_has_none():
    assert abs(entropy(np.random.default_rng(3).uniform(size=(2000, 2)))) < 0.1


@pytest.mark.parametrize("scale", [1 / 1024, 3.7, 5e4])
def test_scale_law(scale):
    expected = entropy(SAMPLES) + SAMPLES.shape[1] * math.log(scale)
    assert entropy(scale * SAMPLES) == pytest.approx(expected, abs=1e-5)


def test_moved_and_turned_samples_have_the_same_entropy():
    turn, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    expected = entropy(SAMPLES)
    assert entropy(SAMPLES @ turn) == pytest.approx(expected, abs=1e-5)
    # moved so far, distances have fewer digits; none are lost but those of the samples themselves
    moved = (SAMPLES + 1000).astype("float32")
    assert entropy(moved) == pytest.approx(reference.knn_entropy(moved), abs=1e-5)
    assert entropy(moved) == pytest.approx(expected, abs=1e-2)


def test_near_samples_far_from_the_others_have_exact_distances():
    """A matrix product alone has an error of about 1 in squared distances that are 1e-4 here."""
    samples = np.concatenate([SAMPLES[:5] * 0.01 + 2000, SAMPLES[5:10] * 0.01 - 2000])
    samples = samples.astype("float32")
    value, gradient = value_and_gradient(samples)
    assert value == pytest.approx(reference.knn_entropy(samples), rel=1e-5)
    expected = reference.knn_entropy_gradient(samples)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_flows_only_between_the_nearest():
    pair, others = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[50.0, 0.0], [50.0, 2.0]])
    _, before = value_and_gradient(np.concatenate([pair, others]))
    _, after = value_and_gradient(np.concatenate([pair, others + [7.0, 3.0]]))
    np.testing.assert_allclose(after, before, atol=1e-6)
    np.testing.assert_allclose(before[:2], [[-1, 0], [1, 0]], atol=1e-6)  # they push each other
    np.testing.assert_allclose(before[2:], [[0, -0.5], [0, 0.5]], atol=1e-6)


@pytest.mark.parametrize("k", [1, 2])
def test_duplicates_are_finite_and_push_no_one(k):
    samples = np.concatenate([SAMPLES[:1]] * 12 + [SAMPLES[1:4]])
    value, gradient = value_and_gradient(samples, k)
    assert math.isfinite(value) and np.isfinite(gradient).all()
    pushed = [i for i, row in enumerate(reference.distances(samples)) if np.sort(row)[k - 1] > 0]
    assert pushed == [12, 13, 14]
    assert (np.abs(gradient[12:]).max(1) > 0).all()
    value, gradient = value_and_gradient(np.ones((4, 2)), k)
    assert value < -50 and not gradient.any()


def test_half_precision_and_integers_are_computed_in_float32():
    half = SAMPLES.astype("float16")
    for samples in (half, np.arange(6)[:, None] ** 2):
        found = backend.one_program(losses.knn_entropy)(keras.ops.convert_to_tensor(samples))
        assert keras.backend.standardize_dtype(found.dtype) == "float32"
        assert float(found) == pytest.approx(reference.knn_entropy(samples), rel=1e-6)


def test_no_tensor_holds_the_differences_of_all_pairs():
    """The largest tensor of the gradient's program is one of n x n distances."""
    n, d = 64, 32
    variable = keras.Variable(RNG.normal(size=(n, d)).astype("float32"))
    compute = backend.value_and_grad(lambda: losses.knn_entropy(variable.value), [variable])
    assert n * n <= max(sizes(compute, variable)) < n * n * d / 2


def sizes(compute, variable):
    """Sizes of the tensors of a program."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        graph = tf.function(lambda: compute()[1]).get_concrete_function().graph
        shapes = [t.shape for op in graph.get_operations() for t in op.outputs]
        return [math.prod(shape) for shape in shapes if shape.rank is not None]
    import jax

    def pure(value):
        with backend.replaced(variable, value):
            return compute()[1]

    def walk(program):
        for equation in program.eqns:
            yield from (math.prod(v.aval.shape) for v in equation.outvars)
            for inner in jax.core.jaxprs_in_params(equation.params):
                yield from walk(inner)

    return list(walk(jax.make_jaxpr(pure)(variable.value).jaxpr))


def test_an_unknown_number_of_samples():
    """As in `fit` on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        assert entropy(SAMPLES[:2]) == pytest.approx(reference.knn_entropy(SAMPLES[:2]), rel=1e-5)
        return
    import tensorflow as tf

    signature = [tf.TensorSpec((None, 3), "float32"), tf.TensorSpec((), "float32")]
    compute = tf.function(lambda x, _: losses.knn_entropy(x, 3), input_signature=signature)
    for n in (4, 5, 20):
        expected = reference.knn_entropy(SAMPLES[:n], 3)
        assert float(compute(SAMPLES[:n], 0.0)) == pytest.approx(expected, rel=1e-5)
    assert float(compute(SAMPLES[:3], 0.0)) == math.inf
    with pytest.raises(tf.errors.InvalidArgumentError):
        compute(SAMPLES[:2], 0.0)


def test_digamma_is_exact():
    for n in (1, 2, 3, 10, 5000):
        assert digamma(float(n), math.log) == pytest.approx(reference.psi(n), abs=1e-9)


def test_errors():
    with pytest.raises(ValueError, match="`k` must be a positive integer. Received: 0"):
        losses.knn_entropy(SAMPLES, 0)
    with pytest.raises(ValueError, match="`k` must be less than the number .*Received: 40 of 40"):
        losses.knn_entropy(SAMPLES, 40)
    with pytest.raises(ValueError, match=r"`samples` must be of the shape .*Received: \(40,\)"):
        losses.knn_entropy(SAMPLES[:, 0])


@pytest.mark.slow
def test_a_large_batch_needs_little_memory():
    """4,096 x 32 with the gradient, in a process of its own: the peak of all of its memory."""
    program = """
import resource, numpy as np, keras
from kexue_keras import backend, losses
x = keras.Variable(np.random.default_rng(0).normal(size=(4096, 32)).astype("float32"))
value, (gradient,) = backend.value_and_grad(lambda: losses.knn_entropy(x.value), [x])()
assert np.isfinite(keras.ops.convert_to_numpy(gradient)).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) * 1024 < 2e9
