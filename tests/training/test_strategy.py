"""What holds of every strategy, and the base as Keras's own step."""

import json

import keras
import numpy as np
import pytest
from contract import check_config, to_numpy
from strategy_models import (
    BERT_LOSSES,
    CHANGES,
    LABELS,
    LENGTH,
    RATE,
    STRATEGIES,
    TOKENS,
    VOCABULARY,
    WEIGHTS,
    Subclassed,
    Updates,
    adversarial,
    bag_of_words,
    bert,
    bert_inputs,
    compiled,
    crossentropy,
    fill,
    fit,
    losses_of,
    nested,
    numpy_weights,
    penalty,
    two_outputs,
)

from kexue_keras import training
from kexue_keras.experiments.run import Run

# so small that no weight of float32 changes: both passes run, and must give Keras's numbers
BARELY = {
    "plain": training.Strategy,
    "barely_adversarial": lambda model: adversarial(model, epsilon=1e-30),
    "barely_penalized": lambda model: penalty(model, weight=1e-30),
    "none": lambda model: adversarial(penalty(adversarial(model, epsilon=0), weight=0), epsilon=0),
}
WAYS = [{"run_eagerly": True, "jit_compile": False}, {"jit_compile": True}]
LIVELY = {"regularized": True, "dropout": 0.4, "normalized": True}


def assert_same_weights(found, expected):
    for x, y in zip(found.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(x.value), to_numpy(y.value), err_msg=x.path)


@pytest.fixture(scope="module")
def of_keras():
    """A run of Keras with dropout, batch normalization, regularizers, weights and metrics."""
    model = bag_of_words(**LIVELY)
    return train_lively(model), model


def train_lively(model, **options):
    compiled(model, keras.optimizers.Adam(0.1), metrics=["accuracy"], weighted_metrics=["accuracy"])
    return fit(model, sample_weight=WEIGHTS, **options)


@pytest.mark.parametrize("name", list(BARELY))
def test_without_strength_every_bit_is_keras_s(name, of_keras):
    model = bag_of_words(**LIVELY)
    history = train_lively(BARELY[name](model))
    assert history == of_keras[0]
    assert_same_weights(model, of_keras[1])
    assert to_numpy(model.get_layer("dropout").seed_generator.state.value)[1] > 0


@pytest.mark.parametrize(
    "options", [{"run_eagerly": True, "jit_compile": False}, {"jit_compile": True}]
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_ordinary_step_is_that_of_keras(optimizer, options):
    if options.get("run_eagerly") and keras.backend.backend() == "jax":
        pytest.skip("every operation would be compiled by itself: slow")
    found = []
    for make in (lambda model: model, training.Strategy):
        model = bag_of_words(regularized=True)
        model_ = compiled(make(model), optimizer, metrics=["accuracy"], **options)
        found.append((fit(model_, epochs=2, sample_weight=WEIGHTS), numpy_weights(model)))
    (expected, expected_weights), (history, weights) = found
    assert set(history) == set(expected) == {"loss", "accuracy"}
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-6)
    for x, y in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_losses_and_weights_are_those_of_numpy(name):
    """With sample weights, and regularizers that count once; both orders of a chain are equal."""
    model = bag_of_words(regularized=True)
    before = numpy_weights(model)
    history = fit(compiled(STRATEGIES[name](model)), sample_weight=WEIGHTS)
    losses, weights = losses_of(before, CHANGES[name], WEIGHTS, regularized=True)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    for x, y in zip(numpy_weights(model), weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


bert_model = pytest.fixture(bert, scope="module")


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_losses_of_bert_with_a_head(name, bert_model):
    fill(bert_model)
    history = fit(compiled(STRATEGIES[name](bert_model, "Embedding-Token")), bert_inputs())
    np.testing.assert_allclose(history["loss"], BERT_LOSSES[name], rtol=1e-5)


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_a_nested_model_trains_alike(name):
    model = nested()
    losses, _ = losses_of(numpy_weights(model), CHANGES[name])
    np.testing.assert_allclose(fit(compiled(STRATEGIES[name](model)))["loss"], losses, rtol=1e-5)


@pytest.mark.parametrize("name", ["adversarial", "adversarial_penalty"])
@pytest.mark.parametrize("options", [{"jit_compile": True}, {"run_eagerly": True}])
def test_ways_to_run_are_equal(name, options):
    if options.get("run_eagerly") and keras.backend.backend() == "jax":
        pytest.skip("every operation would be compiled by itself: slow")
    model = bag_of_words(regularized=True)
    losses, _ = losses_of(numpy_weights(model), CHANGES[name], epochs=2, regularized=True)
    history = fit(compiled(STRATEGIES[name](model), **options), epochs=2)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)


def test_resuming_gives_the_undisturbed_run(tmp_path):
    """Interrupted after an epoch; with dropout, batch normalization and metrics counted once."""

    def train(directory, epochs):
        strategy = STRATEGIES["adversarial_penalty"](bag_of_words(**LIVELY))
        optimizer = keras.optimizers.Adam(0.1, clipnorm=0.5)
        compiled(strategy, optimizer, metrics=[Updates()])
        run = Run(directory, {}, evaluate=dict, monitor="loss")
        start = run.resume(strategy)
        return strategy, fit(strategy, epochs=epochs, initial_epoch=start, callbacks=[run])

    whole, history = train(tmp_path / "whole", 2)
    assert history["updates"] == [2, 2]
    train(tmp_path / "parts", 1)
    resumed, rest = train(tmp_path / "parts", 2)
    assert rest["loss"] == history["loss"][1:]
    assert_same_weights(resumed, whole)


def test_a_reloaded_strategy_goes_on(tmp_path):
    path = tmp_path / "strategy.keras"
    whole = compiled(STRATEGIES["penalty_adversarial"](bag_of_words()), "adam")
    fit(whole, epochs=1)
    whole.save(path)
    again = keras.saving.load_model(path)
    assert config_of(again) == config_of(whole)
    found = again.predict(TOKENS, verbose=0)
    np.testing.assert_array_equal(found, whole.predict(TOKENS, verbose=0))
    losses = [fit(strategy, epochs=1)["loss"] for strategy in (again, whole)]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    path = tmp_path / "strategy.weights.h5"
    whole.save_weights(path)
    other = compiled(STRATEGIES["penalty_adversarial"](bag_of_words()), "adam")
    other.optimizer.build(other.trainable_variables)
    other.load_weights(path)
    assert_same_weights(other.model.model, whole.model.model)


def config_of(strategy):
    return type(strategy), json.dumps(strategy.get_config(), sort_keys=True)


def test_configs():
    for make in STRATEGIES.values():
        strategy = make(bag_of_words())
        check_config(strategy)
        again = reloaded(strategy)
        assert config_of(again) == config_of(strategy) and type(again.model) is type(strategy.model)
    again = reloaded(training.Strategy(bag_of_words(), name="still", trainable=False))
    assert again.name == "still" and not again.trainable_variables


def reloaded(strategy):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(strategy)))
    return keras.saving.deserialize_keras_object(config)


def test_evaluate_and_predict_are_those_of_the_model():
    model = bag_of_words(regularized=True, dropout=0.5)
    plain = bag_of_words(regularized=True, dropout=0.5)
    strategy = compiled(STRATEGIES["adversarial_penalty"](model), metrics=["accuracy"])
    compiled(plain, metrics=["accuracy"])
    expected = plain.evaluate(TOKENS, LABELS, sample_weight=WEIGHTS, verbose=0)
    assert strategy.evaluate(TOKENS, LABELS, sample_weight=WEIGHTS, verbose=0) == expected
    found = strategy.predict(TOKENS, verbose=0)
    np.testing.assert_array_equal(found, plain.predict(TOKENS, verbose=0))
    np.testing.assert_array_equal(found, to_numpy(model(TOKENS)))
    assert strategy.model.model is model and model.get_layer("words") is not None


@pytest.mark.parametrize("kind", [list, dict])
def test_several_outputs(kind):
    """Losses, weights and metrics by name or place, and the logs Keras has; each counted once."""

    def structure(classes, score):
        return {"classes": classes, "score": score} if kind is dict else [classes, score]

    def train(strategy):
        strategy.compile(
            keras.optimizers.SGD(RATE),
            structure(crossentropy(), "mse"),
            loss_weights=structure(1.0, 0.3),
            metrics=structure([Updates()], ["mae"]),
        )
        return fit(strategy, labels=structure(LABELS, WEIGHTS[:, None]), epochs=2)

    expected = train(two_outputs(kind))
    names = {"loss", "classes_loss", "score_loss", "classes_updates", "score_mae"}
    assert names <= set(expected) and expected["classes_updates"] == [2, 2]
    barely = adversarial(penalty(two_outputs(kind), weight=1e-30), epsilon=1e-30)
    assert train(barely) == expected


def test_accumulated_gradients():
    """The weights move at every second step, as Keras moves them."""
    histories = []
    for make in (lambda model: model, lambda model: adversarial(model, epsilon=1e-30)):
        model = bag_of_words()
        optimizer = keras.optimizers.SGD(RATE, gradient_accumulation_steps=2)
        histories.append((fit(compiled(make(model), optimizer)), numpy_weights(model)))
    (expected, expected_weights), (history, weights) = histories
    assert history == expected and history["loss"][2] < history["loss"][0]
    for x, y in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7)


def test_a_clipped_step_has_the_length_of_the_clip():
    """Of all weights together, rows of the table that occur more than once included."""
    model = bag_of_words()
    before = numpy_weights(model)
    optimizer = keras.optimizers.SGD(1.0, global_clipnorm=0.01)
    compiled(STRATEGIES["adversarial"](model), optimizer).train_on_batch(TOKENS, LABELS)
    moves = [x - y for x, y in zip(numpy_weights(model), before, strict=True)]
    assert np.sqrt(sum((move**2).sum() for move in moves)) == pytest.approx(0.01, rel=1e-4)


def test_a_subclassed_model_is_built_by_its_first_batch(tmp_path):
    strategy = compiled(STRATEGIES["adversarial_penalty"](Subclassed()))
    losses = fit(strategy)["loss"]
    assert losses[-1] < losses[0] and strategy.model.model.words.embeddings.shape == (VOCABULARY, 4)
    strategy.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    np.testing.assert_array_equal(
        again.predict(TOKENS, verbose=0), strategy.predict(TOKENS, verbose=0)
    )


LOG = []


class Doubled(training.Strategy):
    """Twice the loss, half the gradients; notes what its hooks were given."""

    def objective(self, objective, batch, trainer):
        LOG.append(("objective", self.name, trainer.name, [part.shape[0] for part in batch]))

        def twice():
            loss, y_pred = objective()
            return 2 * loss, y_pred

        return twice

    def gradients(self, compute, batch, trainer):
        LOG.append(("gradients", self.name, trainer.name))

        def halves(objective, variables):
            value, gradients = compute(objective, variables)
            return value, [g / 2 for g in gradients]

        return halves


def test_hooks_are_called_from_the_inside_and_the_outermost_steps():
    LOG.clear()
    model = bag_of_words()
    losses, weights = losses_of(numpy_weights(model), lambda function: function, epochs=1)
    chain = Doubled(Doubled(model, name="inner"), name="outer")
    history = fit(compiled(chain), epochs=1, sample_weight=np.ones(8))
    np.testing.assert_allclose(history["loss"], 4 * np.array(losses), rtol=1e-5)
    for x, y in zip(numpy_weights(model), weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
    inner, outer = LOG[-4:-2], LOG[-2:]
    assert [entry[:3] for entry in inner] == [
        ("objective", "inner", "outer"),
        ("gradients", "inner", "outer"),
    ]
    assert [entry[1] for entry in outer] == ["outer", "outer"] and inner[0][3] == [4, 4, 4]


class OwnStep(keras.Model):
    def train_step(self, *arguments):
        return {}


class OwnLoss(keras.Model):
    def compute_loss(self, *arguments, **options):
        return 0.0


def test_what_would_be_ignored_is_refused():
    with pytest.raises(ValueError, match="`model` must be a `keras.Model`. Received: <Dense"):
        training.Strategy(keras.layers.Dense(1))
    for kind, method in ((OwnStep, "train_step"), (OwnLoss, "compute_loss")):
        with pytest.raises(
            ValueError, match=f"must leave `{method}` to Keras.*class {kind.__name__}"
        ):
            training.Strategy(kind())
    strategy = training.Strategy(bag_of_words(), name="hidden")
    tokens = keras.Input((LENGTH,), dtype="int32")
    with pytest.raises(ValueError, match="cannot be a layer.*Received: 'hidden'"):
        strategy(tokens)
    outer = Subclassed()
    outer.inside = strategy
    with pytest.raises(ValueError, match="none inside.*with 'hidden' inside"):
        training.Strategy(outer)
    with pytest.raises(TypeError):
        training.Strategy(tokens, tokens)


class Anew(training.Strategy):
    innermost = True


def test_the_innermost_strategy_has_none_inside():
    around = training.Strategy(Anew(bag_of_words()))
    assert isinstance(around.model, Anew)
    with pytest.raises(ValueError, match="no strategy for Anew.*put Strategy around Anew"):
        Anew(training.Strategy(bag_of_words()))
    with pytest.raises(ValueError, match="`model` must be no strategy for Anew"):
        Anew(Anew(bag_of_words()))


def test_a_model_of_frozen_weights_warns_as_keras_does():
    strategy = training.Strategy(bag_of_words())
    strategy.trainable = False
    compiled(strategy)
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        fit(strategy, epochs=1)
