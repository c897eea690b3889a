"""The gradient penalty: second derivatives through every kind of table, and loss scales."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops
from strategy_models import (
    BATCH,
    CHANGES,
    LABELS,
    LENGTH,
    RATE,
    STRATEGIES,
    TOKENS,
    VOCABULARY,
    adversarial,
    bag_of_words,
    compiled,
    fit,
    losses_of,
    numpy_weights,
    penalized,
    penalty,
    value_and_gradients,
)

from kexue_keras import layers, training


def reported(loss):
    return float(np.asarray(loss).ravel()[0])


@pytest.mark.parametrize("make", [keras.layers.Embedding, layers.Embedding])
def test_one_step_by_hand(make):
    """The table's gradient is sparse on TensorFlow; both kinds of layer look up by `take`."""
    model = bag_of_words(embedding=make)
    before = [w.astype("float64") for w in numpy_weights(model)]
    batch = (TOKENS[:BATCH], LABELS[:BATCH], np.ones(BATCH))
    loss, (by_table, *_) = value_and_gradients(before, *batch)
    value, gradients = penalized(lambda w: value_and_gradients(w, *batch), 2.0)(before)
    assert value == pytest.approx(loss + (by_table**2).sum()) and value > 1.01 * loss
    found = compiled(penalty(model)).train_on_batch(TOKENS[:BATCH], LABELS[:BATCH])
    assert reported(found) == pytest.approx(value, rel=1e-5)
    for x, w, gradient in zip(numpy_weights(model), before, gradients, strict=True):
        np.testing.assert_allclose(x, w - RATE * gradient, rtol=1e-4, atol=1e-6)


def test_a_table_that_is_also_the_output_matrix():
    """Looked up (sparse) and multiplied by (dense): central differences of the penalized loss."""
    table = layers.Embedding(VOCABULARY, 3, name="words")
    tokens = keras.Input((LENGTH,), dtype="int32")
    hidden = ops.tanh(table(tokens))
    model = keras.Model(tokens, table(hidden, mode="dense"))
    start = np.random.default_rng(0).normal(size=(VOCABULARY, 3)).astype("float32")
    table.embeddings.assign(start)
    still = compiled(penalty(model, weight=0.5), keras.optimizers.SGD(0.0))

    def penalized_loss(at):
        table.embeddings.assign(at)
        return reported(still.train_on_batch(TOKENS[:2], TOKENS[:2]))

    direction = np.random.default_rng(1).normal(size=start.shape)
    values = [penalized_loss(start + h * direction) for h in (0.02, -0.02, 0.04, -0.04)]
    slope = (8 * (values[0] - values[1]) - (values[2] - values[3])) / 0.24
    table.embeddings.assign(start)
    strategy = compiled(penalty(model, weight=0.5), keras.optimizers.SGD(1.0))
    strategy.train_on_batch(TOKENS[:2], TOKENS[:2])
    gradient = start - to_numpy(table.embeddings.value)
    assert (gradient * direction).sum() == pytest.approx(slope, rel=2e-3)


def test_a_frozen_table_is_watched_but_not_updated():
    model = bag_of_words()
    weights = numpy_weights(model)
    model.get_layer("words").trainable = False
    batch = (TOKENS[:BATCH], LABELS[:BATCH], np.ones(BATCH))
    compiled(penalty(model)).train_on_batch(TOKENS[:BATCH], LABELS[:BATCH])
    _, gradients = penalized(lambda w: value_and_gradients(w, *batch), 2.0)(weights)
    np.testing.assert_array_equal(to_numpy(model.get_layer("words").embeddings.value), weights[0])
    for x, w, g in zip(numpy_weights(model), weights[1:], gradients[1:], strict=True):
        np.testing.assert_allclose(x, w - RATE * g, rtol=1e-4, atol=1e-6)


def test_the_penalty_lowers_the_gradient():
    norms = {}
    for weight in (0.0, 20.0):
        model = bag_of_words()
        fit(compiled(penalty(model, weight=weight)), epochs=20)
        batch = (TOKENS, LABELS, np.ones(8))
        _, (by_table, *_) = value_and_gradients(numpy_weights(model), *batch)
        norms[weight] = (by_table**2).sum()
    assert norms[20.0] < 0.5 * norms[0.0]


@pytest.mark.parametrize("name", ["adversarial", "penalty", "adversarial_penalty"])
def test_mixed_precision_is_float32_nearly(name):
    """The loss scale, of which neither penalty nor perturbation may know, cancels."""
    model = bag_of_words(dtype="mixed_float16")
    losses, weights = losses_of(numpy_weights(model), CHANGES[name], epochs=2)
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(RATE), initial_scale=1024.0, dynamic_growth_steps=4
    )
    history = fit(compiled(STRATEGIES[name](model), optimizer), epochs=2)
    assert float(optimizer.dynamic_scale) == 2048 and int(optimizer.step_counter) == 0
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-2)
    for x, y in zip(numpy_weights(model), weights, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-2)


@pytest.mark.parametrize("name", ["plain", *STRATEGIES])
def test_overflow_skips_the_step_lowers_the_scale_and_spoils_no_figure(name):
    model = bag_of_words(dtype="mixed_float16")
    strategy = {**STRATEGIES, "plain": training.Strategy}[name](model)
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(RATE), initial_scale=2.0**40
    )
    compiled(strategy, optimizer)
    before = numpy_weights(model)
    loss = strategy.train_on_batch(TOKENS[:4], LABELS[:4])
    for x, y in zip(numpy_weights(model), before, strict=True):
        np.testing.assert_array_equal(x, y)
    assert float(optimizer.dynamic_scale) == 2.0**39
    plain = compiled(bag_of_words(dtype="mixed_float16")).evaluate(
        TOKENS[:4], LABELS[:4], verbose=0
    )
    assert float(np.asarray(loss).ravel()[0]) == pytest.approx(plain, rel=1e-3)


def test_a_loss_scale_is_chosen_as_for_the_model_alone():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = bag_of_words()
    finally:
        keras.config.set_dtype_policy("float32")
    strategy = compiled(penalty(adversarial(model)))
    assert isinstance(strategy.optimizer, keras.optimizers.LossScaleOptimizer)
    assert not isinstance(
        compiled(training.Strategy(bag_of_words())).optimizer, keras.optimizers.LossScaleOptimizer
    )


def test_ids_that_come_as_floats_are_not_rounded():
    tokens = keras.Input((1,), dtype="float32")
    x = keras.layers.Embedding(5000, 2, name="words", dtype="mixed_float16")(tokens)
    model = keras.Model(tokens, x)
    model.dtype_policy = "mixed_float16"
    ids = np.array([[4999.0], [2049.0]], "float32")
    np.testing.assert_array_equal(to_numpy(training.Strategy(model)(ids)), to_numpy(model(ids)))


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_bad_weights(weight):
    with pytest.raises(ValueError, match=f"`weight` must be at least 0. Received: {weight}"):
        training.GradientPenalty(bag_of_words(), "words", weight)


def test_bad_layers():
    with pytest.raises(ValueError, match="name 'word'.*close to it: words"):
        training.GradientPenalty(bag_of_words(), "word")
    strategy = compiled(training.GradientPenalty(bag_of_words(), "logits"))
    with pytest.raises(ValueError, match="`embedding` must be.*'logits', a Dense that has no such"):
        strategy.train_on_batch(TOKENS, LABELS)
