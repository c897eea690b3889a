"""Zeroth order: the estimate by hand and on a quadratic; its passes leave no trace."""

import keras
import numpy as np
import pytest
from contract import check_config, to_numpy
from point_model import HESSIAN, ONES, SLOPE, point_model, position, quadratic
from references.gradient_free import zeroth_order
from strategy_models import (
    BARELY_AROUND,
    BATCH,
    LABELS,
    RATE,
    TOKENS,
    WEIGHTS,
    assert_the_rest_of,
    bag_of_words,
    compiled,
    fit,
    numpy_weights,
    penalty,
    run,
    value_and_gradients,
)
from two_devices import run_on_two_devices

from kexue_keras import training
from kexue_keras.training.seeded_noise import SeededNoise


def directions(seed, model, samples):
    """The directions of the first step, as float64 arrays for every variable."""
    variables = model.trainable_variables
    noise = SeededNoise(keras.random.SeedGenerator(seed), len(variables), samples)
    return [
        [to_numpy(noise.normal(i, k, v.shape)).astype("float64") for k, v in enumerate(variables)]
        for i in range(samples)
    ]


def test_one_step_by_hand():
    """With regularizers and sample weights; the loss reported is that of the weights unmoved."""
    model = bag_of_words(regularized=True)
    before = [w.astype("float64") for w in numpy_weights(model)]
    sigma, samples = 0.3, 3
    strategy = compiled(training.ZerothOrder(model, sigma, samples, seed=5))
    found = strategy.train_on_batch(TOKENS[:BATCH], LABELS[:BATCH], WEIGHTS[:BATCH])

    def loss(weights):
        batch = (TOKENS[:BATCH], LABELS[:BATCH], WEIGHTS[:BATCH].astype("float64"))
        return value_and_gradients(weights, *batch, regularized=True)[0]

    assert float(np.asarray(found).ravel()[0]) == pytest.approx(loss(before), rel=1e-5)
    total = [np.zeros_like(w) for w in before]
    for u in directions(5, model, samples):
        ends = [[w + s * sigma * x for w, x in zip(before, u, strict=True)] for s in (1, -1)]
        slope = (loss(ends[0]) - loss(ends[1])) / (2 * sigma * samples)
        total = [t + slope * x for t, x in zip(total, u, strict=True)]
    for x, w, gradient in zip(numpy_weights(model), before, total, strict=True):
        np.testing.assert_allclose(x, w - RATE * gradient, rtol=1e-4, atol=1e-5)


def test_one_step_equals_the_reference():
    model, start = point_model(1.0, -2.0), np.array([1.0, -2.0])
    u = np.array([x for (x,) in directions(9, model, 4)])
    strategy = training.ZerothOrder(model, 0.5, 4, seed=9)
    strategy.compile(keras.optimizers.SGD(1.0), quadratic)
    strategy.train_on_batch(ONES, ONES)
    loss = lambda x: SLOPE @ x + x @ HESSIAN @ x / 2  # noqa: E731
    expected = zeroth_order(loss, start, u, 0.5)
    np.testing.assert_allclose(start - position(model), expected, rtol=1e-4)


def test_on_a_quadratic_the_mean_is_the_gradient_whatever_sigma():
    found = []
    for sigma in (0.1, 2.0):
        model = point_model(1.0, -2.0)
        strategy = training.ZerothOrder(model, sigma, samples=4000, seed=0)
        strategy.compile(keras.optimizers.SGD(1.0), quadratic, jit_compile=True)
        strategy.train_on_batch(ONES, ONES)
        found.append(np.array([1.0, -2.0]) - position(model))
    exact = SLOPE + HESSIAN @ [1.0, -2.0]
    np.testing.assert_allclose(found[0], exact, atol=0.12)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)


def test_the_mask_of_dropout_is_that_of_the_pass_that_counts():
    """So that the estimate is the directional derivatives of the loss under one mask."""
    model = bag_of_words(dropout=0.5)
    before = numpy_weights(model)
    plain = compiled(training.Strategy(model), keras.optimizers.SGD(1.0))
    plain.train_on_batch(TOKENS, LABELS)
    gradient = [x - y for x, y in zip(before, numpy_weights(model), strict=True)]
    model = bag_of_words(dropout=0.5)
    strategy = compiled(training.ZerothOrder(model, 0.01, 2, seed=1), keras.optimizers.SGD(1.0))
    strategy.train_on_batch(TOKENS, LABELS)
    expected = [np.zeros_like(g) for g in gradient]
    for u in directions(1, model, 2):
        slope = sum((x * g).sum() for x, g in zip(u, gradient, strict=True)) / 2
        expected = [e + slope * x for e, x in zip(expected, u, strict=True)]
    for x, y, e in zip(before, numpy_weights(model), expected, strict=True):
        np.testing.assert_allclose(x - y, e, atol=2e-3)


class Counted(keras.layers.Layer):
    """Counts the passes that are traced."""

    passes = 0

    def call(self, x):
        Counted.passes += 1
        return x


@keras.saving.register_keras_serializable(package="tests")
class Rows(keras.metrics.Metric):
    def __init__(self, name="rows", **kwargs):
        super().__init__(name=name, **kwargs)
        self.count = self.add_weight(initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(keras.ops.cast(keras.ops.shape(y_pred)[0], "float32"))

    def result(self):
        return self.count + 0


LIVELY = {"regularized": True, "dropout": 0.4, "normalized": True}


def test_the_passes_leave_no_trace():
    """With the rate 0 metrics, statistics and seeds are those of a plain run."""
    found = []
    for make in (training.Strategy, lambda model: training.ZerothOrder(model, 5.0, 3, seed=0)):
        model = bag_of_words(**LIVELY)
        strategy = compiled(make(model), keras.optimizers.SGD(0.0), metrics=["accuracy", Rows()])
        history = fit(strategy, epochs=2)
        assert history["rows"] == [8, 8]
        found.append((history, [to_numpy(v.value) for v in model.variables]))
    assert found[0][0].keys() == found[1][0].keys()
    for name, values in found[0][0].items():
        np.testing.assert_allclose(found[1][0][name], values, rtol=1e-6)
    for x, y in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


def test_the_program_does_not_grow_with_the_directions():
    """Two passes in a loop, and one before it."""
    counts = []
    for samples in (1, 40):
        inner = bag_of_words()
        model = keras.Model(inner.input, Counted()(inner.output))
        strategy = compiled(training.ZerothOrder(model, samples=samples))
        Counted.passes = 0
        strategy.train_on_batch(TOKENS, LABELS)
        counts.append(Counted.passes)
    assert counts[0] == counts[1]


def test_the_error_rate_is_minimized_by_a_python_function():
    """It has no gradient; and Keras's own way to train says so."""

    def error_rate(y_true, y_pred):
        assert isinstance(y_pred, np.ndarray)
        return np.mean(y_true != y_pred.argmax(-1))

    errors = training.python_objective(error_rate)
    strategy = training.ZerothOrder(bag_of_words(), sigma=0.5, samples=30, seed=0)
    strategy.compile(keras.optimizers.Adam(0.1), errors, metrics=["accuracy"])
    history = fit(strategy, epochs=15)
    np.testing.assert_allclose(history["loss"], 1 - np.array(history["accuracy"]), atol=1e-6)
    assert history["loss"][-1] < history["loss"][0]
    plain = training.Strategy(bag_of_words())
    plain.compile("sgd", errors)
    with pytest.raises(ValueError, match="A Python function has no gradient"):
        fit(plain, epochs=1)


def run_of(wrap, tmp_path=None, epochs=2):
    strategy = wrap(training.ZerothOrder(bag_of_words(**LIVELY), samples=4, seed=4))
    compiled(strategy, keras.optimizers.Adam(0.1))
    return run(strategy, tmp_path, epochs)


@pytest.fixture(scope="module")
def undisturbed():
    return run_of(lambda strategy: strategy)


def test_resuming_gives_the_undisturbed_run(tmp_path, undisturbed):
    run_of(lambda strategy: strategy, tmp_path, epochs=1)
    assert_the_rest_of(undisturbed, run_of(lambda strategy: strategy, tmp_path))


@pytest.mark.parametrize("name", BARELY_AROUND)
def test_a_strategy_without_strength_around_it_changes_nothing(name, undisturbed):
    losses, variables = run_of(BARELY_AROUND[name])
    np.testing.assert_allclose(losses, undisturbed[0], rtol=1e-5)
    for x, y in zip(variables, undisturbed[1], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)


def test_the_penalty_is_part_of_what_is_differenced():
    """The penalized loss is what is reported and what the directions are tried on."""
    losses = []
    for weight in (0.0, 2.0):
        strategy = penalty(training.ZerothOrder(bag_of_words(), samples=1), weight=weight)
        losses.append(fit(compiled(strategy), epochs=1)["loss"][0])
    assert losses[1] > losses[0] + 0.01


def test_the_scale_of_mixed_precision_cancels():
    found = []
    for scale in (None, 1024.0):
        model = bag_of_words(dtype="mixed_float16")
        optimizer = keras.optimizers.SGD(RATE)
        if scale:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, scale)
        strategy = training.ZerothOrder(model, sigma=0.3, samples=2, seed=2)
        compiled(strategy, optimizer, auto_scale_loss=False).train_on_batch(TOKENS, LABELS)
        found.append(numpy_weights(model))
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_the_config_and_what_is_refused():
    strategy = training.ZerothOrder(bag_of_words(), 0.5, 3, seed=1)
    check_config(strategy)
    for options, message in (
        ({"sigma": 0}, "`sigma` must be positive. Received: 0"),
        ({"sigma": float("nan")}, "`sigma` must be positive. Received: nan"),
        ({"samples": 0}, "`samples` must be a positive integer. Received: 0"),
    ):
        with pytest.raises(ValueError, match=message):
            training.ZerothOrder(bag_of_words(), **options)
    with pytest.raises(ValueError, match="`model` must be no strategy for ZerothOrder"):
        training.ZerothOrder(strategy)


REPLICAS = """
import strategy_models as m
from kexue_keras import training
def crossentropies(y, p):
    return keras.losses.sparse_categorical_crossentropy(y, p, from_logits=True)
def nothing(y, sampled):
    return 0.0 * keras.ops.cast(sampled, "float32")
def search(model):
    options = {"sigma": 0.1, "temperature": 0.1, "seed": 0}
    return training.GuidedParameterSearch(model, crossentropies, **options)
def rewarded(model):
    return training.PolicyGradient(keras.Sequential([model, keras.layers.Softmax()]), nothing)
kinds = [lambda model: training.ZerothOrder(model, 0.1, 2, seed=0), search, rewarded]
found = []
for replicas in (1, 2):
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"][:replicas])
    for kind in kinds:
        with mirrored.scope():
            model = m.bag_of_words(regularized=True)
            strategy = kind(model)
            loss = None if kind is rewarded else m.crossentropy()
            strategy.compile(keras.optimizers.SGD(0.2), loss)
        history = m.fit(strategy, epochs=2)
        found.append([history["loss"], [w.tolist() for w in model.get_weights()]])
print(json.dumps(found))
"""


@pytest.mark.once
@pytest.mark.slow  # test_combinations.py has the like of it
def test_two_replicas_are_one():
    """The directions and candidates of both are the same, of which each sees a part of the batch;
    so is what regularizers add to a policy gradient."""
    found = run_on_two_devices(REPLICAS)
    for (losses, weights), (expected, expected_weights) in zip(found[3:], found[:3], strict=True):
        np.testing.assert_allclose(losses, expected, rtol=1e-4)
        for x, y in zip(weights, expected_weights, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5)
