"""The same numbers are asserted on every backend: made by NumPy or by a closed form."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops

from kexue_keras import backend

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5]] + 0.3).astype("float32")
BATCH = 4


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


def linear_model(step_class=backend.TrainStep, **options):
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(1, name="dense", **options)
    model = step_class(inputs, dense(inputs))
    dense.set_weights([np.array([[0.5], [0.1], [-0.2]], "float32"), np.zeros(1, "float32")])
    return model


def numpy_losses(epochs, gradient_at=None, learning_rate=0.1):
    """Mean squared error of every epoch of SGD on batches in order."""
    w, b = np.array([[0.5], [0.1], [-0.2]]), np.zeros(1)
    losses = []
    for _ in range(epochs):
        values = []
        for start in range(0, len(X), BATCH):
            x, y = X[start : start + BATCH].astype("float64"), Y[start : start + BATCH]
            error = x @ w + b - y
            values.append((error**2).mean())
            at = w if gradient_at is None else gradient_at(w, 2 * x.T @ error / BATCH)
            error = x @ at + b - y
            w = w - learning_rate * 2 * x.T @ error / BATCH
            b = b - learning_rate * 2 * error.mean(0)
        losses.append(np.mean(values))
    return losses, w


class FastGradientStep(backend.TrainStep):
    """Gradients at the kernel moved by 0.5 along its normalized gradient,."""

    def step(self, x, y, sample_weight):
        kernel = self.get_layer("dense").kernel
        loss, gradients = self.loss_and_gradients(x, y, sample_weight)
        before = kernel.value + 0
        gradient = gradients[0]
        kernel.assign(before + 0.5 * gradient / ops.sqrt(ops.sum(gradient**2)))
        objective = backend.value_and_grad(
            lambda: ops.mean((self(x, training=True) - y) ** 2), self.trainable_variables
        )
        _, gradients = objective()
        kernel.assign(before)
        self.apply_gradients(gradients, self.trainable_variables)
        return self.logs(loss, x)


def fgm(w, gradient):
    return w + 0.5 * gradient / np.sqrt((gradient**2).sum())


@pytest.mark.parametrize(
    "step_class,gradient_at", [(backend.TrainStep, None), (FastGradientStep, fgm)]
)
def test_fit_gives_the_losses_of_numpy(step_class, gradient_at):
    model = linear_model(step_class)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(X, Y, epochs=3, batch_size=BATCH, shuffle=False, verbose=0)
    losses, w = numpy_losses(3, gradient_at)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-4)
    np.testing.assert_allclose(to_numpy(model.get_layer("dense").kernel), w, rtol=1e-4)
    assert history.history["loss"][2] < history.history["loss"][0]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"jit_compile": True}])
def test_the_ordinary_step_is_that_of_keras(optimizer, options):
    """With dropout-free layers, metrics and sample weights."""
    if options.get("run_eagerly") and optimizer == "adam":
        options = {"run_eagerly": True, "jit_compile": False}
    weights = np.linspace(0.5, 2, len(X)).astype("float32")
    found = []
    for step_class in (keras.Model, backend.TrainStep):
        model = linear_model(step_class, kernel_regularizer="l2")
        model.compile(optimizer, "mse", metrics=["mae"], weighted_metrics=["mse"], **options)
        arguments = dict(epochs=2, batch_size=5, shuffle=False, verbose=0, sample_weight=weights)
        found.append((model.fit(X, Y, **arguments).history, model.get_weights()))
    (expected, expected_weights), (history, weights) = found
    assert set(history) == set(expected) == {"loss", "mae", "mse"}
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5)
    for x, y in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


class PenaltyStep(backend.TrainStep):
    """Loss plus the squared norm of its own gradient: a second derivative inside `fit`."""

    def step(self, x, y, sample_weight):
        variables = self.trainable_variables

        def objective():
            def plain():
                return ops.mean((self(x, training=True) - y) ** 2)

            loss, gradients = backend.value_and_grad(plain, variables)()
            return loss + 0.1 * sum(ops.sum(g**2) for g in gradients), loss

        (_, loss), gradients = backend.value_and_grad(objective, variables)()
        self.apply_gradients(gradients, variables)
        return self.logs(loss, x)


def test_second_derivative_inside_fit():
    model = linear_model(PenaltyStep)
    model.compile(keras.optimizers.SGD(0.05), "mse")
    history = model.fit(X, Y, epochs=3, batch_size=BATCH, shuffle=False, verbose=0)
    theta = np.array([0.5, 0.1, -0.2, 0.0])
    losses = []
    for _ in range(3):
        values = []
        for start in range(0, len(X), BATCH):
            x = np.c_[X[start : start + BATCH], np.ones(BATCH)].astype("float64")
            error = x @ theta - Y[start : start + BATCH, 0]
            values.append((error**2).mean())
            gradient, hessian = 2 * x.T @ error / BATCH, 2 * x.T @ x / BATCH
            theta = theta - 0.05 * (gradient + 0.1 * 2 * hessian @ gradient)
        losses.append(np.mean(values))
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-4)


def stateful_model(step_class):
    inputs = keras.Input((3,))
    x = keras.layers.BatchNormalization(name="norm")(inputs)
    x = keras.layers.Dropout(0.5, seed=3, name="dropout")(x)
    return step_class(inputs, keras.layers.Dense(1, kernel_initializer="ones")(x))


def test_dropout_and_batch_normalization_inside_fit():
    """The state goes on from step to step exactly as with Keras's own train step."""
    found = []
    for step_class in (keras.Model, backend.TrainStep):
        model = stateful_model(step_class)
        model.compile("sgd", "mse")
        history = model.fit(X, Y, epochs=3, batch_size=BATCH, shuffle=False, verbose=0)
        seed = to_numpy(model.get_layer("dropout").seed_generator.state.value)
        found.append((history.history["loss"], seed, model.get_weights()))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5)
    np.testing.assert_array_equal(found[1][1], found[0][1])
    for x, y in zip(found[1][2], found[0][2], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
    assert np.abs(to_numpy(model.get_layer("norm").moving_mean.value)).max() > 0
    assert found[1][1][1] > 0


def test_loss_scaling_of_mixed_precision():
    """The scaled loss reaches the optimizer, the logs have the plain one."""
    found = {}
    for policy in ("float32", "mixed_float16"):
        model = linear_model(dtype=policy)
        optimizer = keras.optimizers.SGD(0.1)
        if policy == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(
                optimizer, initial_scale=1024, dynamic_growth_steps=4
            )
        model.compile(optimizer, "mse")
        history = model.fit(X, Y, epochs=2, batch_size=BATCH, shuffle=False, verbose=0)
        found[policy] = (history.history["loss"], to_numpy(model.get_layer("dense").kernel))
    np.testing.assert_allclose(found["mixed_float16"][0], found["float32"][0], rtol=1e-2)
    np.testing.assert_allclose(found["mixed_float16"][1], found["float32"][1], atol=1e-2)
    assert float(optimizer.dynamic_scale) == 2048 and int(optimizer.step_counter) == 2


def test_infinite_gradients_skip_the_step_and_lower_the_loss_scale():
    model = linear_model(dtype="mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=1024)
    model.compile(optimizer, "mse")
    before = model.get_weights()
    model.train_on_batch(1e30 * X[:4], Y[:4])
    for x, y in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(x, y)
    assert float(optimizer.dynamic_scale) == 512


def test_custom_train_steps_save_evaluate_and_predict(tmp_path):
    model = linear_model()
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(X, Y, verbose=0)
    loss, _ = model.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(loss, ((model.predict(X, verbose=0) - Y) ** 2).mean(), rtol=1e-5)
    model.save_weights(tmp_path / "model.weights.h5")
    again = linear_model()
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(to_numpy(again(X)), to_numpy(model(X)))


def test_jit_sees_later_training():
    dense = keras.layers.Dense(1, kernel_initializer="ones")
    dense.build((None, 3))
    run = backend.jit(lambda x: dense(x), dense.variables)
    np.testing.assert_allclose(to_numpy(run(X)), X.sum(1, keepdims=True), rtol=1e-5, atol=1e-6)
    dense.kernel.assign(2 * to_numpy(dense.kernel.value))
    np.testing.assert_allclose(to_numpy(run(X)), 2 * X.sum(1, keepdims=True), rtol=1e-5, atol=1e-6)


def test_jit_of_nested_arguments_compiles_once_per_shape():
    traces = []

    def function(first, second):
        traces.append(1)
        return {"sum": first["a"] + second[0], "length": ops.shape(first["a"])[0]}

    run = backend.jit(function)
    for length in (2, 3, 2, 3):
        x = ops.convert_to_tensor(np.arange(length, dtype="float32"))
        found = run({"a": x}, [x])
        np.testing.assert_array_equal(to_numpy(found["sum"]), 2 * np.arange(length))
        assert int(found["length"]) == length
    assert len(traces) == 2


def test_jit_of_a_gradient():
    w = variable(1, 2)
    run = backend.jit(lambda x: backend.value_and_grad(lambda: ops.sum(w**2 * x), [w])(), [w])
    value, (gradient,) = run(ops.convert_to_tensor([3.0, 4.0]))
    assert float(value) == 19
    assert to_numpy(gradient).tolist() == [6, 16]


def test_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(ValueError, match="must be one of jax, tensorflow.*Received: numpy"):
        backend.jit(lambda: 0)
    with pytest.raises(ValueError, match="must be one of jax, tensorflow, torch.*numpy"):
        backend.value_and_grad(lambda: 0, [])


REPLICAS = """
import json
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from kexue_keras import backend
found = []
for kind in (keras.Model, backend.TrainStep):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        inputs = keras.Input((2,))
        model = kind(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
        model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    x = np.arange(16.0).reshape(8, 2) / 10
    history = model.fit(x, np.ones((8, 1)), epochs=2, batch_size=8, shuffle=False, verbose=0)
    found.append([history.history, [w.tolist() for w in model.get_weights()]])
print(json.dumps(found))
"""


@pytest.mark.once
def test_two_replicas_report_the_loss_of_keras():
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected, found = json.loads(done.stdout.splitlines()[-1])
    for name, values in expected[0].items():
        assert found[0][name] == pytest.approx(values, rel=1e-6)
    assert found[1][0][0] == pytest.approx(expected[1][0][0], rel=1e-6)


def test_layers_are_found_in_nested_models_and_by_name():
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="inside")], name="in")
    outer = keras.Sequential([inner, keras.layers.Dense(1, name="score")], name="out")
    assert {"in", "inside", "score"} <= {layer.name for layer in backend.layers_of(outer)}
    assert backend.layer_of(outer, "inside") is inner.layers[-1]
    with pytest.raises(ValueError, match=r"'insde'.*'out' with 0 \(close to it: inside"):
        backend.layer_of(outer, "insde")
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="inside")], name="b")
    both = keras.Sequential([inner, other], name="both")
    with pytest.raises(ValueError, match="'inside'.*'both' with 2"):
        backend.layer_of(both, "inside")
    shared = keras.Sequential([inner, inner], name="shared")
    assert backend.layer_of(shared, "inside") is inner.layers[-1]
