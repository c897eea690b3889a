"""The same numbers are asserted on every backend: made by NumPy or by a closed form."""

import re

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops

from kexue_keras import backend

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")


def variable(*values):
    return keras.Variable(np.array(values, "float32"))


def test_value_and_gradients():
    w, b, unused = variable(1, 2), variable(3), variable(5, 6)
    value, gradients = backend.value_and_grad(
        lambda scale: scale * ops.sum(w**3) * ops.sum(b), [w, b, unused]
    )(2.0)
    assert float(value) == 54
    expected = [[18, 72], [18], [0, 0]]
    for gradient, numbers in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(to_numpy(gradient), numbers, rtol=1e-6)


def test_auxiliary_outputs_and_arguments_by_name():
    w = variable(3)
    (value, extra), (gradient,) = backend.value_and_grad(
        lambda x, offset: (ops.sum(w * x) + offset, {"x": x * 2}), [w]
    )(ops.convert_to_tensor([4.0]), offset=1.0)
    assert float(value) == 13 and float(extra["x"][0]) == 8 and float(gradient[0]) == 4


def test_other_variables_are_constants():
    w, other = variable(2), variable(5)
    _, (gradient,) = backend.value_and_grad(lambda: ops.sum(w * other * other), [w])()
    assert float(gradient[0]) == 25


def test_second_derivative():
    """d/dw of (d/dw of w^4)^2 = (4 w^3)^2 is 96 w^5."""
    w = variable(1.5, -0.5)

    def squared_slope():
        _, (gradient,) = backend.value_and_grad(lambda: ops.sum(w**4), [w])()
        return ops.sum(gradient**2)

    value, (gradient,) = backend.value_and_grad(squared_slope, [w])()
    point = to_numpy(w.value)
    np.testing.assert_allclose(float(value), np.sum(16 * point**6), rtol=1e-5)
    np.testing.assert_allclose(to_numpy(gradient), 96 * point**5, rtol=1e-5)


def test_mixed_second_derivative():
    """An inner gradient by one variable, an outer one by another: d/db of 2 a b is 2 a."""
    a, b = variable(3), variable(7)

    def slope():
        return ops.sum(backend.value_and_grad(lambda: ops.sum(a * a * b), [a])()[1][0])

    value, (by_a, by_b) = backend.value_and_grad(slope, [a, b])()
    assert (float(value), float(by_a[0]), float(by_b[0])) == (42, 14, 6)


def test_the_inner_function_sees_what_the_outer_one_assigned():
    w, counter = variable(2), variable(0)

    def outer():
        counter.assign(counter.value + 1)
        value, _ = backend.value_and_grad(lambda: ops.sum(w * counter), [w])()
        return value + ops.sum(w)

    value, (gradient,) = backend.value_and_grad(outer, [w])()
    assert float(value) == 4 and float(gradient[0]) == 2
    assert float(to_numpy(counter.value)[0]) == 1


def test_gradient_of_an_embedding_is_dense():
    table = keras.Variable(np.ones((5, 2), "float32"))
    ids = np.array([1, 1, 3])
    _, (gradient,) = backend.value_and_grad(
        lambda: ops.sum(ops.take(table, ids, axis=0)), [table]
    )()
    expected = np.zeros((5, 2))
    expected[[1, 3]] = [[2, 2], [1, 1]]
    np.testing.assert_array_equal(to_numpy(gradient), expected)
    assert not hasattr(gradient, "indices")
    np.testing.assert_array_equal(to_numpy(gradient * 2 + 1), 2 * expected + 1)


def test_dropout_goes_on_and_its_seed_state_advances():
    w, dropout = variable(*[1.0] * 64), keras.layers.Dropout(0.5, seed=1)
    function = backend.value_and_grad(lambda: ops.sum(dropout(w[None], training=True)), [w])
    state = to_numpy(dropout.seed_generator.state.value).copy()
    masks = [to_numpy(function()[1][0]) for _ in range(3)]
    assert all(set(mask) == {0, 2} for mask in masks)
    assert (masks[0] != masks[1]).any() and (masks[1] != masks[2]).any()
    assert (to_numpy(dropout.seed_generator.state.value) != state).any()


def test_statistics_stay_changed():
    norm = keras.layers.BatchNormalization(momentum=0.75, center=False, scale=False)
    norm.build((None, 3))
    w = variable(1)
    for _ in range(2):
        backend.value_and_grad(lambda: ops.sum(norm(X, training=True) * w), [w])()
    expected = (1 - 0.75**2) * X.mean(0)
    np.testing.assert_allclose(to_numpy(norm.moving_mean.value), expected, rtol=1e-5)


def test_an_error_inside_leaves_variables_alone():
    w, counter = variable(2), variable(0)

    def broken():
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        backend.value_and_grad(broken, [w])()
    value, _ = backend.value_and_grad(lambda: ops.sum(w + counter), [w])()
    assert float(value) == 2


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 2)])
def test_only_scalars_are_differentiated(shape):
    w = keras.Variable(np.ones(shape, "float32"))
    for run in (
        backend.value_and_grad(lambda: w * 2, [w]),
        backend.value_and_grad(lambda: (w * 2, 1.0), [w]),
        backend.gradients_of(lambda: [ops.sum(w), w * 2], [w]),
    ):
        with pytest.raises(ValueError, match=f"must return scalars.*shape {re.escape(str(shape))}"):
            run()


def test_several_losses_of_one_forward_pass():
    w, b, norm = variable(1, 2), variable(3), keras.layers.BatchNormalization(momentum=0.75)
    norm.build((None, 3))
    passes = []

    def losses(scale):
        passes.append(norm(X, training=True))
        return [scale * ops.sum(w**3), ops.sum(w) * ops.sum(b), ops.sum(b * 0.0)], {"w": w * 2}

    (values, extra), gradients = backend.gradients_of(losses, [w, b])(2.0)
    assert len(passes) == 1 and [float(v) for v in values] == [18, 9, 0]
    assert to_numpy(extra["w"]).tolist() == [2, 4]
    found = [[to_numpy(g).tolist() for g in of_loss] for of_loss in gradients]
    assert found == [[[6, 24], [0]], [[3, 3], [3]], [[0, 0], [0]]]
    np.testing.assert_allclose(to_numpy(norm.moving_mean.value), 0.25 * X.mean(0), rtol=1e-5)


@pytest.mark.parametrize("kind", [list, tuple])
def test_gradients_of_losses_alone_are_dense_and_can_be_differentiated(kind):
    """The sum over v of (d/dv of sum v^3)^2 is 9 v^4, its gradient 36 v^3."""
    table = keras.Variable(np.array([[1.0], [2.0], [3.0]], "float32"))
    ids = np.array([0, 2])

    def slopes():
        def losses():
            rows = ops.take(table, ids, axis=0)
            return kind([ops.sum(rows), ops.sum(rows**3)])

        values, ((first,), (second,)) = backend.gradients_of(losses, [table])()
        assert type(values) is kind
        return ops.sum(second**2) + ops.sum(first)

    value, (gradient,) = backend.value_and_grad(slopes, [table])()
    assert float(value) == 9 * (1 + 81) + 2
    assert to_numpy(gradient).ravel().tolist() == [36, 0, 36 * 27]


@pytest.mark.parametrize("kind", ["LayerNormalization", "BatchNormalization"])
def test_second_derivative_of_keras_normalizations(kind):
    """In a direction that is not that of a gradient by the layer's input; see `tf.nn.moments`."""
    norm = getattr(keras.layers, kind)()
    norm.build((6, 3))
    x, shift = keras.Variable(X[:6]), keras.Variable(np.float32([1.0, -0.3, 2.0]))
    weights = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")

    def loss():
        return ops.sum(weights * norm((x + shift) ** 3, training=True))

    def slope():
        return ops.sum(backend.value_and_grad(loss, [shift])()[1][0] ** 2) / 2

    _, (gradient, slopes) = backend.value_and_grad(slope, [x, shift])()
    expected = np.zeros(3)
    for i, direction in enumerate(np.eye(3)):
        values = []
        for step in (0.01, -0.01, 0.02, -0.02):
            with backend.replaced(shift, to_numpy(shift.value) + step * direction):
                values.append(float(slope()))
        a, b, c, d = values
        expected[i] = (8 * (a - b) - (c - d)) / 0.12
    np.testing.assert_allclose(to_numpy(slopes), expected, rtol=5e-3)
    np.testing.assert_allclose(to_numpy(gradient).sum(0), to_numpy(slopes), rtol=1e-3, atol=1e-3)


def test_first_derivatives_of_normalizations_stay_as_they_were():
    """Bit for bit, also after a second differentiation."""
    norm = keras.layers.LayerNormalization()
    norm.build((12, 3))
    x = keras.Variable(X)
    function = backend.value_and_grad(lambda: ops.sum(norm(x) ** 3), [x])
    before = to_numpy(function()[1][0])
    backend.value_and_grad(lambda: ops.sum(function()[1][0] ** 2), [x])()
    np.testing.assert_array_equal(to_numpy(function()[1][0]), before)


def test_products_with_jacobians_by_tensors():
    a, b = (ops.convert_to_tensor(x) for x in (X, X[:4, :1]))
    weights = [np.float32(X[:, :1] * 2), np.float32(X[:3] - 1)]

    def function(a, b, unused):
        return [ops.sum(a**2, axis=1, keepdims=True), ops.matmul(ops.ones((3, 4)), b) * a[:3]]

    tensors = [ops.convert_to_tensor(w) for w in weights]
    inputs = [a, b, ops.ones(2)]
    output, found = backend.vector_jacobian_product(function, inputs, tensors)
    total = X[:4, 0].sum()
    np.testing.assert_allclose(to_numpy(output[1]), total * X[:3], rtol=1e-5)
    expected = 2 * X * weights[0]
    expected[:3] += total * weights[1]
    np.testing.assert_allclose(to_numpy(found[0]), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        to_numpy(found[1]), np.full((4, 1), np.sum(X[:3] * weights[1])), rtol=1e-5
    )
    np.testing.assert_array_equal(to_numpy(found[2]), [0, 0])
