"""Both sides of the inequality: 300 random networks, NumPy, autodiff, the equality case."""

import functools
import gc

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import layers, ops
from references import recurrent as reference

from kexue_keras import backend
from kexue_keras.analysis import gradient_penalty_bound

ACTIVATIONS = {
    "tanh": np.tanh,
    "sigmoid": reference.sigmoid,
    "linear": lambda x: x,
    "relu": lambda x: np.where(np.real(x) > 0, x, 0),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(),
}


def chain(sizes, activations, use_bias=True):
    model = keras.Sequential([keras.Input((sizes[0],))])
    for units, activation in zip(sizes[1:], activations, strict=True):
        model.add(layers.Dense(units, activation, use_bias=use_bias))
    return model


def randomize(model, rng, scale=1.0):
    for w in model.trainable_weights:
        w.assign(rng.normal(0, scale, w.shape))


def reference_sides(model, x, f):
    """Of every sample, in float64."""
    found = []
    for layer in model.layers:
        weights = [to_numpy(w).astype("float64") for w in layer.weights]
        bias = weights[1] if layer.use_bias else None
        found.append((weights[0], bias, ACTIVATIONS[layer.activation.__name__]))
    sides = [reference.gradient_penalty_sides(row, found, f) for row in x.astype("float64")]
    return np.array(sides).T


def test_never_violated_on_300_random_networks():
    """Of three layers with tanh, their weights of sizes from 0.1 to 2."""
    rng = np.random.default_rng(0)
    model = chain((5, 8, 6, 1), ("tanh", "tanh", "tanh"))
    ratios = []
    for i in range(300):
        randomize(model, rng, 10 ** rng.uniform(-1, 0.3))
        left, right = gradient_penalty_bound(model, rng.normal(size=(4, 5)))
        assert (left <= right).all()
        ratios.extend(right[left > 0] / left[left > 0])
        if i % 60 == 0:
            expected = reference_sides(model, x := rng.normal(size=(4, 5)), np.sum)
            found = gradient_penalty_bound(model, x)
            np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1e-6)
    assert len(ratios) > 1100 and min(ratios) > 1.1


@pytest.mark.parametrize(
    ("sizes", "activations", "use_bias", "target"),
    [
        ((4, 3), ("softmax",), True, 1),
        ((4, 7, 2), ("relu", "linear"), False, None),
        ((3, 6, 5, 4), ("softmax", "sigmoid", "softmax"), True, -1),
        ((6, 9, 2, 9, 8, 3), ("tanh", "relu", "linear", "sigmoid", "linear"), True, "loss"),
    ],
)
def test_other_networks_and_targets_equal_numpy(sizes, activations, use_bias, target):
    rng = np.random.default_rng(len(sizes))
    model = chain(sizes, activations, use_bias)
    randomize(model, rng, 0.7)
    x = rng.normal(size=(5, sizes[0])).astype("float32")
    given, f = target, (lambda y: y[target]) if isinstance(target, int) else np.sum
    if target == "loss":
        given = lambda y: ops.sum((y - 0.5) ** 2, axis=-1)  # noqa: E731
        f = lambda y: np.sum((y - 0.5) ** 2)  # noqa: E731
    left, right = gradient_penalty_bound(model, x, given)
    np.testing.assert_allclose([left, right], reference_sides(model, x, f), rtol=1e-3, atol=1e-9)
    assert (left <= right * (1 + 1e-5)).all()


def test_the_right_side_is_the_gradient_of_all_parameters():
    rng = np.random.default_rng(3)
    model = chain((5, 8, 6, 2), ("tanh", "relu", "linear"))
    randomize(model, rng, 0.5)
    x = rng.normal(size=(3, 5)).astype("float32")
    _, right = gradient_penalty_bound(model, x)

    def squares(row):
        value = lambda: ops.sum(model(row[None]))  # noqa: E731
        _, gradients = backend.value_and_grad(value, model.trainable_variables)()
        return sum(ops.sum(g**2) for g in gradients)

    one = backend.one_program(squares)
    np.testing.assert_allclose(right, [float(one(ops.convert_to_tensor(r))) for r in x], rtol=1e-4)


def test_equality_for_one_orthogonal_layer():
    """|a|^2 (1 + |x|^2), a of ones; and strictly less when W is not orthogonal."""
    rng = np.random.default_rng(4)
    model = chain((6, 6), ("linear",))
    orthogonal = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    model.set_weights([3 * orthogonal, rng.normal(size=6)])
    x = rng.normal(size=(4, 6))
    left, right = gradient_penalty_bound(model, x)
    np.testing.assert_allclose(right, 6 * (1 + np.sum(x**2, 1)), rtol=1e-5)
    np.testing.assert_allclose(left, right, rtol=1e-5)
    model.set_weights([orthogonal * np.arange(1, 7), np.zeros(6)])
    left, right = gradient_penalty_bound(model, x)
    assert (left < 0.9 * right).all()


def test_images_functional_models_and_layers_without_weights():
    """Flatten, dropout in inference, activations of their own: as the plain chain on flat rows."""
    inputs = keras.Input((2, 3))
    h = layers.Flatten()(layers.Rescaling(1.0)(inputs))
    h = layers.LeakyReLU(0.1)(layers.Dropout(0.5)(layers.Dense(7)(h)))
    model = keras.Model(inputs, layers.Softmax()(layers.Dense(3)(h)))
    rng = np.random.default_rng(5)
    randomize(model, rng, 0.5)
    nested = keras.Sequential([keras.Input((6,)), keras.Sequential(model.layers[3:6])])
    nested.add(layers.Dense(3, "softmax"))
    nested.layers[-1].set_weights(model.layers[6].get_weights())
    x = rng.normal(size=(4, 2, 3)).astype("float32")
    found = gradient_penalty_bound(model, x, 2)
    expected = gradient_penalty_bound(nested, x.reshape(4, 6), 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_dead_units_give_zero_on_both_sides():
    model = chain((3, 4, 1), ("relu", "linear"))
    model.set_weights([np.ones((3, 4)), np.full(4, -100), np.ones((4, 1)), np.zeros(1)])
    left, right = gradient_penalty_bound(model, np.ones((2, 3)))
    np.testing.assert_array_equal(left, [0, 0])
    np.testing.assert_allclose(right, [1, 1])  # by the last bias


def test_a_kept_program_lets_the_model_go():
    programs = gradient_penalty_bound.__globals__["_programs"]
    model = chain((3, 2), ("tanh",))
    gradient_penalty_bound(model, np.ones((1, 3)))
    kept = len(programs)
    del model
    gc.collect()
    assert len(programs) < kept


def test_what_is_refused():
    bound = functools.partial(gradient_penalty_bound, x=np.ones((2, 4), "float32"))
    inputs = keras.Input((4,))
    h = layers.Dense(4, name="first")(inputs)
    parts = {
        r"scale \(BatchNormalization\), soft \(PReLU\)": keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(2),
                layers.BatchNormalization(name="scale"),
                layers.PReLU(name="soft"),
            ]  # fmt: skip
        ),
        "must be a chain of layers": keras.Model(inputs, layers.add([inputs, h])),
        "each used once": keras.Sequential([inputs, shared := layers.Dense(4), shared]),
        r"must have dense layers.*Received: \[\]": keras.Sequential([inputs, layers.ReLU()]),
        "Sequential or a functional": layers.Dense(3),
    }
    for message, model in parts.items():
        with pytest.raises(ValueError, match=message):
            bound(model)
    with pytest.raises(ValueError, match="must give vectors.*an input of shape"):
        images = keras.Sequential([keras.Input((2, 4)), layers.Dense(2)])
        gradient_penalty_bound(images, np.ones((3, 2, 4)))
    model = chain((4, 3), ("linear",))
    for target, message in ((3, "an index of 3 outputs. Received: 3"), ("a", "None, an index")):
        with pytest.raises(ValueError, match=message):
            bound(model, target=target)
    with pytest.raises(ValueError, match=r"one value a sample, \(2,\).*shape \(2, 3\)"):
        bound(model, target=lambda y: y)
