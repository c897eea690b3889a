"""Adversarial training: the step by hand, and that the first pass leaves no trace."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from references.robustness import projected
from strategy_models import (
    BATCH,
    LABELS,
    RATE,
    TOKENS,
    Subclassed,
    adversarial,
    bag_of_words,
    compiled,
    fit,
    losses_of,
    numpy_weights,
    perturbed,
    value_and_gradients,
)

from kexue_keras import layers, training
from kexue_keras.training.adversarial_training import unit


def reported(loss):
    return float(np.asarray(loss).ravel()[0])


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("make", [keras.layers.Embedding, layers.Embedding])
def test_one_step_by_hand(make, frozen):
    """The gradients at the perturbed table, the table itself back where it was; the loss reported
    is the higher one. A frozen table is perturbed, and not updated."""
    model = bag_of_words(embedding=make)
    before = [w.astype("float64") for w in numpy_weights(model)]
    table = model.get_layer("words").embeddings
    model.get_layer("words").trainable = not frozen
    batch = (TOKENS[:BATCH], LABELS[:BATCH], np.ones(BATCH))
    loss, _ = value_and_gradients(before, *batch)
    value, gradients = perturbed(lambda w: value_and_gradients(w, *batch), 0.5)(before)
    assert value > 1.05 * loss
    found = compiled(adversarial(model)).train_on_batch(TOKENS[:BATCH], LABELS[:BATCH])
    assert reported(found) == pytest.approx(value, rel=1e-5)
    expected = [w - RATE * g for w, g in zip(before, gradients, strict=True)]
    if frozen:
        np.testing.assert_array_equal(to_numpy(table.value), before[0].astype("float32"))
        expected = expected[1:]
    for x, w in zip(numpy_weights(model), expected, strict=True):
        np.testing.assert_allclose(x, w, rtol=1e-4, atol=1e-6)


class Spy(keras.layers.Layer):
    """Fails in the pass of the given number."""

    fail_at, passes = None, 0

    def call(self, x):
        Spy.passes += 1
        if Spy.passes == Spy.fail_at:
            raise KeyError("inside the pass")
        return x


@pytest.mark.parametrize("fail_at", [1, 2])
def test_after_an_error_the_table_is_what_it_was(fail_at):
    inner = bag_of_words()
    tokens = keras.Input(inner.input_shape[1:], dtype="int32")
    model = keras.Model(tokens, Spy()(inner(tokens)))
    strategy = compiled(adversarial(model), run_eagerly=True)
    strategy.train_on_batch(TOKENS, LABELS)
    before = numpy_weights(model)
    Spy.passes, Spy.fail_at = 0, fail_at
    try:
        with pytest.raises(KeyError, match="inside the pass"):
            strategy.train_on_batch(TOKENS, LABELS)
    finally:
        Spy.fail_at = None
    for x, y in zip(numpy_weights(model), before, strict=True):
        np.testing.assert_array_equal(x, y)
    assert np.isfinite(reported(strategy.train_on_batch(TOKENS, LABELS)))


def test_statistics_and_dropout_advance_once_and_are_those_of_the_second_pass():
    """A large perturbation moves the mean that batch normalization sees."""
    found = {}
    for epsilon in (0, 1e-30, 30.0):
        model = bag_of_words(normalized=True, dropout=0.5)
        compiled(adversarial(model, epsilon=epsilon)).train_on_batch(TOKENS, LABELS)
        seed = to_numpy(model.get_layer("dropout").seed_generator.state.value).tolist()
        found[epsilon] = (to_numpy(model.get_layer("norm").moving_mean.value), seed)
    np.testing.assert_array_equal(found[0][0], found[1e-30][0])
    assert found[0][1] == found[1e-30][1] == found[30.0][1]
    assert np.abs(found[30.0][0] - found[0][0]).max() > 1e-3
    assert np.abs(found[30.0][0] - found[0][0]).max() < 1  # momentum 0.99: updated once


def test_the_model_without_a_loss_gradient_stays():
    """Where the gradient is zero there is no direction: no NaN."""
    model = bag_of_words()
    strategy = compiled(adversarial(model))
    loss = strategy.train_on_batch(TOKENS, LABELS, sample_weight=np.zeros(8, "float32"))
    assert reported(loss) == 0 and all(np.isfinite(w).all() for w in numpy_weights(model))


@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1.0, 1e30])
def test_unit_of_any_scale(scale):
    x = np.random.default_rng(0).normal(size=(5, 4))
    expected = x / np.sqrt((x**2).sum())
    found = to_numpy(unit((x * scale).astype("float32")))
    if scale > 1e-38:
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("x", [[0.0, 0.0], [np.inf, 1.0], [np.nan, 1.0], [1.0, -np.inf]])
def test_unit_of_what_has_no_direction(x):
    np.testing.assert_array_equal(to_numpy(unit(np.array(x, "float32"))), [0, 0])


@pytest.mark.parametrize("epsilon", [-0.5, float("nan"), float("inf")])
def test_bad_epsilons(epsilon):
    with pytest.raises(ValueError, match=f"`epsilon` must be at least 0. Received: {epsilon}"):
        training.AdversarialTraining(bag_of_words(), "words", epsilon)


def test_bad_layers():
    with pytest.raises(ValueError, match="name 'wrods'.*'bag_of_words' with 0"):
        training.AdversarialTraining(bag_of_words(), "wrods")
    model = training.AdversarialTraining(Subclassed(), "words")
    assert not model.built
    strategy = compiled(training.AdversarialTraining(bag_of_words(), "logits"))
    with pytest.raises(ValueError, match="`embedding` must be.*'logits', a Dense that has no such"):
        fit(strategy, epochs=1)


@pytest.mark.parametrize(
    ("steps", "step_size", "expected"), [(3, 0.3, 0.3), (4, None, 2.5 * 0.5 / 4), (1, 2.0, 2.0)]
)
def test_several_steps_are_projected_descent(steps, step_size, expected):
    """Away from the table and back to the ball; a step beyond the ball ends on it."""
    model = bag_of_words()
    before = numpy_weights(model)
    strategy = training.AdversarialTraining(model, "words", 0.5, steps, step_size)
    history = fit(compiled(strategy))
    losses, weights = losses_of(before, lambda f: projected(f, 0.5, steps, expected))
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    for x, y in zip(numpy_weights(model), weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("steps", 1.5), ("step_size", -1.0)])
def test_numbers_of_steps_that_cannot_be(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received: {value}"):
        training.AdversarialTraining(bag_of_words(), "words", **{name: value})
