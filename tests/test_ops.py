import keras
import numpy as np
import pytest
from contract import to_numpy

from kexue_keras import backend, ops

RNG = np.random.default_rng(0)


def multiply(x, y):
    return to_numpy(ops.mitchell_multiply(np.asarray(x, "float32"), np.asarray(y, "float32")))


def divide(x, y):
    return to_numpy(ops.mitchell_divide(np.asarray(x, "float32"), np.asarray(y, "float32")))


def reference(x, y, sign):
    """By the definition: add or subtract `n + m` of `2^n (1 + m)`, then invert."""
    total = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)))
    for value, factor in ((x, 1), (y, sign)):
        mantissa, exponent = np.frexp(np.abs(np.asarray(value, "float64")))
        total = total + factor * (exponent - 1 + 2 * mantissa - 1)
    whole = np.floor(total)
    return np.sign(x) * np.sign(y) * np.ldexp(1 + total - whole, whole.astype(int))


def test_the_lowest_score_hides_without_nan():
    scores = keras.ops.array([1.0, ops.LOWEST, 2.0])
    shares = to_numpy(keras.ops.softmax(scores))
    assert shares[1] == 0 and shares.sum() == pytest.approx(1)
    nothing = to_numpy(keras.ops.softmax(keras.ops.full((4,), ops.LOWEST)))
    np.testing.assert_allclose(nothing, 0.25)
    assert np.isfinite(np.float32(ops.LOWEST) * np.float32(1e8)) and np.float32(ops.LOWEST) * 0 == 0


def test_the_articles_examples():
    np.testing.assert_allclose(multiply(12.3, 4.56), 53.68, rtol=1e-6)
    assert multiply(12.296875, 4.5546875) == 53.625  # with mantissas of six bits
    assert 1 - 53.625 / 56.088 == pytest.approx(0.0439, abs=1e-4)
    assert multiply(1.5, 1.5) == 2.0
    assert divide(1.0, 1.5) == 0.75


def test_equals_the_definition():
    x, y = np.ldexp(RNG.uniform(-2, 2, (2, 1000)), RNG.integers(-40, 40, (2, 1000)))
    x, y = x.astype("float32"), y.astype("float32")
    np.testing.assert_allclose(multiply(x, y), reference(x, y, 1), rtol=2e-7)
    np.testing.assert_allclose(divide(x, y), reference(x, y, -1), rtol=2e-7)
    np.testing.assert_array_equal(multiply(x, y), multiply(y, x))
    np.testing.assert_array_equal(multiply(x, np.float32(1)), x)
    np.testing.assert_array_equal(divide(x, np.float32(1)), x)
    np.testing.assert_array_equal(divide(multiply(x, y), y), x)


def test_bounds_on_a_grid_of_mantissas():
    p = np.linspace(1, 2, 401, dtype="float32")
    exact = p[:, None].astype("float64") * p
    ratio = multiply(p[:, None], p) / exact
    assert ratio.max() <= 1 + 1e-7
    np.testing.assert_allclose(ratio.min(), 8 / 9, rtol=1e-6)
    assert np.unravel_index(ratio.argmin(), ratio.shape) == (200, 200)
    ratio = divide(p[:, None], p) / (p[:, None].astype("float64") / p)
    assert ratio.min() >= 1 - 1e-7
    np.testing.assert_allclose(ratio.max(), 1.125, rtol=1e-5)


def test_powers_of_two_are_exact():
    powers = np.ldexp(np.float32(1), np.arange(-60, 60)) * np.where(np.arange(120) % 2, 1, -1)
    x = RNG.normal(size=120).astype("float32")
    np.testing.assert_array_equal(multiply(powers, x), (powers * x).astype("float32"))
    np.testing.assert_array_equal(divide(x, powers), (x / powers).astype("float32"))


def test_signs_zeros_and_numbers_that_are_none():
    special = np.array([0, 1, -2, np.inf, -np.inf, np.nan], "float32")
    with np.errstate(all="ignore"):
        exact_product, exact_quotient = special[:, None] * special, special[:, None] / special
    np.testing.assert_array_equal(multiply(special[:, None], special), exact_product)
    np.testing.assert_array_equal(divide(special[:, None], special), exact_quotient)


def test_results_out_of_range_do_not_wrap_around():
    huge, tiny = np.float32(3e38), np.float32(1.2e-38)
    values = [huge, -huge, tiny, -tiny]
    assert multiply(huge, values).tolist()[:2] == [np.inf, -np.inf]
    assert multiply(tiny, values).tolist()[2:] == [0, 0]
    np.testing.assert_allclose(multiply(huge, tiny), 3.6, rtol=0.12)
    assert divide(huge, values).tolist()[2:] == [np.inf, -np.inf]
    assert divide(tiny, values).tolist()[:2] == [0, 0]
    largest = np.finfo("float32").max
    assert multiply(largest, 1) == largest and divide(largest, largest) == 1


def test_gradients_are_those_of_the_exact_operations():
    x, y = (keras.Variable(v) for v in RNG.normal(size=(2, 6)).astype("float32"))
    weights = keras.ops.arange(1, 7, dtype="float32")
    for function, exact in (
        (ops.mitchell_multiply, keras.ops.multiply),
        (ops.mitchell_divide, keras.ops.divide),
    ):
        found, expected = (
            backend.value_and_grad(lambda f=f: keras.ops.sum(f(x.value, y.value) * weights), [x, y])
            for f in (function, exact)
        )
        for a, b in zip(found()[1], expected()[1], strict=True):
            np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-5)


def test_gradients_at_zero_and_large_scores_are_finite():
    x = keras.Variable(np.array([0, 1e4, -1e4, 0], "float32"))
    y = keras.Variable(np.array([3, 1e4, 0, 0], "float32"))
    _, gradients = backend.value_and_grad(
        lambda: keras.ops.sum(ops.mitchell_multiply(x.value, y.value)), [x, y]
    )()
    assert to_numpy(gradients[0]).tolist() == [3, 1e4, 0, 0]
    assert to_numpy(gradients[1]).tolist() == [0, 1e4, -1e4, 0]


def test_gradients_of_a_quotient_by_tiny_numbers():
    x = keras.Variable(np.array([0, 1e-25, 1, 1e-30], "float32"))
    y = keras.Variable(np.array([1e-30, 1e-25, 1e-18, -1e-30], "float32"))
    _, gradients = backend.value_and_grad(
        lambda: keras.ops.sum(ops.mitchell_divide(x.value, y.value)), [x, y]
    )()
    np.testing.assert_allclose(to_numpy(gradients[0]), [1e30, 1e25, 1e18, -1e30], rtol=1e-5)
    np.testing.assert_allclose(to_numpy(gradients[1]), [0, -1e25, -1e36, -1e30], rtol=1e-5)


def test_matmul_is_the_sum_of_products_for_any_block_size():
    a, b = RNG.normal(size=(2, 3, 7)).astype("float32"), RNG.normal(size=(7, 4)).astype("float32")
    expected = reference(a[..., None], b, 1).sum(-2)
    for block_size in (3, 32):
        found = to_numpy(ops.mitchell_matmul(a, b, block_size))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_matmul_has_the_gradient_of_the_exact_one():
    a, b = keras.Variable(RNG.normal(size=(3, 7))), keras.Variable(RNG.normal(size=(7, 4)))
    weights = RNG.normal(size=(3, 4)).astype("float32")
    _, gradients = backend.value_and_grad(
        lambda: keras.ops.sum(keras.ops.multiply(ops.mitchell_matmul(a.value, b.value), weights)),
        [a, b],
    )()
    expected = weights @ to_numpy(b.value).T, to_numpy(a.value).T @ weights
    for found, value in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(to_numpy(found), value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision(dtype):
    x = keras.ops.cast([1.5, -3.0], dtype)
    for function, expected in ((ops.mitchell_multiply, [2, 8]), (ops.mitchell_divide, [1, 1])):
        found = function(x, x)
        assert keras.backend.standardize_dtype(found.dtype) == dtype
        assert to_numpy(keras.ops.cast(found, "float32")).tolist() == expected
    assert keras.backend.standardize_dtype(ops.mitchell_matmul(x[None], x[:, None]).dtype) == dtype


class MitchellDense(keras.layers.Dense):
    def call(self, inputs):
        return ops.mitchell_matmul(inputs, self.kernel) + self.bias


def test_a_layer_trains_on_it_with_an_unknown_batch_size():
    model = keras.Sequential([keras.Input((4,)), MitchellDense(1)])
    x = RNG.normal(size=(64, 4)).astype("float32")
    y = x @ np.array([[1], [-2], [0.5], [3]], "float32") + 1
    model.compile(keras.optimizers.Adam(0.2), "mse")
    losses = model.fit(x, y, epochs=20, batch_size=24, verbose=0).history["loss"]
    assert losses[-1] < 0.05 * losses[0]


def test_errors():
    with pytest.raises(ValueError, match=r"`a` and `b` must have shapes .* a.shape=\(2, 3\)"):
        ops.mitchell_matmul(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="`block_size` must be at least 1. Received: 0"):
        ops.mitchell_matmul(np.ones((2, 3)), np.ones((3, 2)), 0)


def test_subnormal_numbers_count_as_zero():
    assert multiply(1e-40, 2.0) == 0 and divide(1e-40, 2.0) == 0
