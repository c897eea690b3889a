"""Trainings that begin from the same weights, and the rate that falls to zero."""

import keras
import numpy as np
import pytest
from keras import ops

from kexue_keras import datasets
from kexue_keras.experiments.fitting import (
    EpochTimer,
    RateToZero,
    Snapshot,
    StepValues,
    compile_model,
    fit,
    train_to_zero_rate,
)
from kexue_keras.experiments.options import Training

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 3)).astype("float32"), RNG.normal(size=(16, 1)).astype("float32")


def small_model():
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.5)]
    return keras.Sequential([keras.Input((3,)), *hidden, keras.layers.Dense(1)])


def test_a_restored_model_trains_as_the_first_time():
    model = small_model()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    start = Snapshot(model)
    before = model.get_weights()

    def train(seed):
        start.restore(np.random.default_rng(seed))
        for value, old in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(value, old)
        assert int(model.optimizer.iterations) == 0
        losses = model.fit(X, Y, epochs=3, shuffle=False, verbose=0).history["loss"]
        for value, old in zip(model.get_weights(), before, strict=True):
            assert np.abs(value - old).max() > 0.01  # the rate is not forgotten
        return losses

    first, second, other = train(1), train(1), train(2)
    assert first == pytest.approx(second, rel=1e-6)
    assert first != pytest.approx(other, rel=1e-3)  # another dropout


def test_the_rate_falls_to_zero_in_a_straight_line():
    model = small_model()
    before = model.get_weights()
    options = Training(epochs=2, batch_size=4, learning_rate=0.1)
    samples, encode = range(16), lambda i: ((X[i],), Y[i])
    train_to_zero_rate(options, model, "mse", samples, encode, (3,), 0, fixed=(1,))
    schedule = model.optimizer._learning_rate
    rates = [float(ops.convert_to_numpy(schedule(step))) for step in (0, 2, 4, 8, 9)]
    np.testing.assert_allclose(rates, [0.1, 0.075, 0.05, 0.0, 0.0], atol=1e-7)
    assert int(model.optimizer.iterations) == 8 and model.optimizer.clipnorm == 1.0
    assert any(np.abs(a - b).max() > 0 for a, b in zip(model.get_weights(), before, strict=True))


def test_a_model_compiled_once_falls_to_zero_over_any_number_of_steps():
    model, rates = small_model(), []
    compile_model(model, "mse", 0.1)
    start = Snapshot(model)

    class Rates(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(float(ops.convert_to_numpy(model.optimizer.learning_rate)))

    for epochs in (1, 2):
        start.restore(np.random.default_rng(0))
        batches = datasets.Batches(range(16), lambda i: ((X[i],), Y[i]), 4, (3,), fixed=(1,))
        callbacks = [RateToZero(0.1, 4 * epochs), Rates()]
        fit(model, batches, epochs, callbacks=callbacks, verbose=0)
        expected = 0.1 * (1 - np.arange(4 * epochs) / (4 * epochs))
        np.testing.assert_allclose(rates, expected, rtol=1e-6)
        rates.clear()


@pytest.mark.once
def test_fit_keeps_the_order_of_the_batches_and_goes_on_with_an_epoch():
    def new():
        model = small_model()
        model.compile("sgd", "mse")
        samples, encode = range(16), lambda i: ((X[i],), Y[i])
        return model, datasets.Batches(samples, encode, 4, (3,), seed=3, fixed=(1,))

    expected, batches = new()
    for epoch in range(3):
        batches.epoch = epoch
        for index in range(len(batches)):
            expected.train_on_batch(*batches[index])
    for parts in ((3,), (1, 3)):
        (model, batches), timer, done = new(), EpochTimer(), 0
        for end in parts:
            fit(model, batches, end, done, [timer], verbose=0)
            done = end
        assert len(timer.seconds) == 3 and min(timer.seconds) > 0
        for a, b in zip(model.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.once
def test_values_of_steps_from_means_of_epochs():
    taken = StepValues(["loss", "cosine"])
    for epoch in ([0.5, -0.25, 1.0], [0.1, 0.3]):
        for i in range(len(epoch)):
            mean = float(np.mean(epoch[: i + 1]))
            taken.on_train_batch_end(i, {"loss": mean, "cosine": -mean})
    np.testing.assert_allclose(taken.values["loss"], [0.5, -0.25, 1.0, 0.1, 0.3])
    np.testing.assert_allclose(taken.values["cosine"], [-0.5, 0.25, -1.0, -0.1, -0.3])
    taken = StepValues(["loss"])
    for batch, mean in [(0, 4.0), (1, 3.0), (2, 3.0), (0, 1.0), (1, 2.0)]:
        taken.on_train_batch_end(batch, {"loss": mean})
    np.testing.assert_allclose(taken.values["loss"], [4, 2, 3, 1, 3])
