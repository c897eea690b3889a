"""Parts of a train step, the same on every backend."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops

from kexue_keras import backend

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5]] + 0.3).astype("float32")
BATCH = 4


def linear_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def test_losses_are_tracked_by_the_size_of_their_batch():
    model = linear_model()
    backend.track_loss(model, 1.0, [None, np.zeros((3, 2))])
    backend.track_loss(model, 5.0, {"x": np.zeros((1, 2))})
    assert float(model.get_metrics_result()["loss"]) == 2


def test_gradients_are_applied():
    model = linear_model()
    gradients = [np.full((3, 1), 2.0, "float32"), np.full((1,), -1.0, "float32")]
    backend.apply_gradients(model.optimizer, gradients, model.trainable_variables)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(kernel, 0.8, rtol=1e-6)
    np.testing.assert_allclose(bias, 0.1, rtol=1e-6)


class Recorded(keras.Model):
    """Its step sees a batch and assigns a weight."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)

    @backend.train_step
    def train_step(self, x, y, sample_weight):
        assert self.dense.built and self.optimizer.built
        self.dense.bias.assign(self.dense.bias + ops.sum(x) + ops.sum(sample_weight))
        return {"y": ops.sum(y)}


def test_a_train_step_is_written_once():
    """Its model is built before the first step, and may assign variables."""
    model = Recorded()
    model.compile("sgd", "mse")
    x, y, sample_weight = np.ones((2, 3)), np.full((2, 1), 4.0), np.ones(2)
    history = model.fit(x, y, sample_weight=sample_weight, epochs=2, verbose=0)
    assert history.history == {"y": [8.0, 8.0]}
    assert float(model.dense.bias[0]) == 16


def test_variables_between_two_steps():
    model, seen = linear_model(), []

    def look(batch, logs=None):
        backend.sync_variables(model)
        seen.append(int(model.optimizer.iterations))

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=look)
    model.fit(X, Y, batch_size=BATCH, verbose=0, callbacks=[callback])
    assert seen == [1, 2, 3]


def test_one_program_is_one_replica():
    assert backend.replicas() == 1
    assert to_numpy(backend.sum_over_replicas(ops.convert_to_tensor([2.0]))).tolist() == [2]


@pytest.mark.parametrize("kind", [list, dict])
def test_compiled_losses_are_the_parts_of_the_loss(kind):
    """Weighted by `loss_weights` and sample weights, without the regularizer; counted nowhere."""
    x = keras.Input((3,))
    outputs = [
        keras.layers.Dense(1, name="a", kernel_regularizer="l2")(x),
        keras.layers.Dense(1, name="b")(x),
    ]
    named = dict(zip("ab", outputs, strict=True)) if kind is dict else outputs
    pack = (lambda *p: dict(zip("ab", p, strict=True))) if kind is dict else (lambda *p: list(p))
    model = keras.Model(x, named)
    model.compile("sgd", pack("mse", "mae"), loss_weights=pack(2.0, 0.5))
    y = pack(ops.convert_to_tensor(Y), ops.convert_to_tensor(2 * Y))
    weight = ops.convert_to_tensor(np.linspace(0.5, 1.5, len(X)).astype("float32"))
    y_pred = model(X)
    whole = float(model.compute_loss(X, y, y_pred, weight))
    tracked = [float(metric.result()) for metric in model.metrics]
    parts = [float(part) for part in backend.compiled_losses(model, y, y_pred, weight)]
    assert [float(metric.result()) for metric in model.metrics] == tracked
    a, b = (to_numpy(p) for p in (y_pred.values() if kind is dict else y_pred))
    w = to_numpy(weight)[:, None]
    expected = [2 * (w * (a - Y) ** 2).mean(), 0.5 * (w * np.abs(b - 2 * Y)).mean()]
    np.testing.assert_allclose(parts, expected, rtol=1e-5)
    assert whole == pytest.approx(sum(parts) + float(sum(model.losses)), rel=1e-6)
    found = backend.compiled_outputs(model, y_pred)
    assert [(name, weight) for name, _, weight, _ in found] == [("a", 2.0), ("b", 0.5)]
    assert all(isinstance(loss, keras.losses.Loss) for _, loss, _, _ in found)
    np.testing.assert_array_equal(to_numpy(found[1][3]), b)
    other = keras.Model(x, named)
    other.compile("sgd")
    with pytest.raises(ValueError, match="`loss` of `compile` is needed"):
        backend.compiled_losses(other, y, y_pred)
