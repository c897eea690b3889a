"""The policy gradient: by hand, on the average, and what goes with it."""

import keras
import numpy as np
import pytest
from contract import check_config, to_numpy
from keras import ops
from references.gradient_free import policy_gradient_estimate
from strategy_models import (
    BARELY_AROUND,
    LABELS,
    TOKENS,
    adversarial,
    assert_the_rest_of,
    bag_of_words,
    fit,
    numpy_weights,
    penalty,
    run,
)

from kexue_keras import training

LOGITS = np.array([[0.5, -0.2, 0.1], [1.5, 0.3, -1.0], [0.0, 0.2, 0.4], [-1, 0.6, 0.2]], "float32")
ROWS = np.arange(4)[:, None]
TABLE = np.array([[1.0, 0.2, -0.5], [0.0, 2.0, 0.3], [0.7, 0.1, 0.4], [0.2, 0.9, 0.3]], "float32")
WEIGHTS = np.array([2.0, 0.0, 1.0, 0.5], "float32")
RATE = 0.5


@keras.saving.register_keras_serializable(package="tests")
def looked_up(y_true, sampled):
    """`y_true` is the rewards of all classes."""
    return ops.take_along_axis(y_true, sampled[:, None], axis=1)[:, 0]


@keras.saving.register_keras_serializable(package="tests")
def hit(y_true, sampled):
    return ops.cast(ops.cast(y_true, "int32") == sampled, "float32")


def logits_model(logits=LOGITS):
    """Row i of the weights is the logits of input i."""
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="int32"),
            keras.layers.Embedding(*logits.shape, name="logits"),
            keras.layers.Flatten(),
            keras.layers.Softmax(),
        ]
    )
    model.set_weights([logits])
    return model


def classifier(**options):
    model = bag_of_words(**options)
    return keras.Model(model.input, keras.layers.Softmax(dtype="float32")(model.output))


def softmax(logits):
    exps = np.exp(logits.astype("float64"))
    return exps / exps.sum(-1, keepdims=True)


def step(model, rows, rewards, sample_weight=None, **options):
    """The loss and the gradient by the logits of one step with the rate 1."""
    strategy = training.PolicyGradient(model, looked_up, **options)
    strategy.compile(keras.optimizers.SGD(1.0))
    before = numpy_weights(model)[0]
    loss = strategy.train_on_batch(rows, rewards, sample_weight=sample_weight)
    return float(np.asarray(loss).ravel()[0]), before - numpy_weights(model)[0]


def exact(logits, rewards):
    """The gradient of minus the expected reward by the logits, row by row."""
    p = softmax(logits)
    return -p * (rewards - (p * rewards).sum(-1, keepdims=True))


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("baseline", [None, "mean", "optimal"])
def test_one_step_by_hand(baseline, samples):
    """With sample weights, one of them zero."""
    loss, gradient = step(
        logits_model(), ROWS, TABLE, WEIGHTS, baseline=baseline, samples=samples, seed=5
    )
    p = softmax(LOGITS)
    generator = keras.random.SeedGenerator(5)
    drawn = keras.random.categorical(np.log(p).astype("float32"), samples, "int32", generator)
    expected, mean, terms = np.zeros((4, 3)), 0.0, []
    for row, classes in enumerate(to_numpy(drawn)):
        for y in classes:
            score = np.eye(3)[y] - p[row]
            terms.append((row, TABLE[row, y], score, WEIGHTS[row]))
    for row, reward, score, weight in terms:
        mine = [t for t in terms if samples == 1 or t[0] == row]
        shares = {
            None: [],
            "mean": [t[3] if samples == 1 else 1.0 for t in mine],
            "optimal": [(t[3] ** 2 if samples == 1 else 1.0) * (t[2] ** 2).sum() for t in mine],
        }[baseline]
        b = np.average([t[1] for t in mine], weights=shares) if shares else 0.0
        expected[row] -= weight * (reward - b) * score / samples / 4
        mean += weight * reward / samples / 4
    assert loss == pytest.approx(-mean, rel=1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("baseline", [None, "mean", "optimal"])
def test_one_step_equals_the_reference(baseline):
    _, gradient = step(logits_model(), ROWS, TABLE, baseline=baseline, seed=8)
    log_p = np.log(softmax(LOGITS)).astype("float32")
    drawn = keras.random.categorical(log_p, 1, "int32", keras.random.SeedGenerator(8))
    drawn = to_numpy(drawn)[:, 0]
    rewards = TABLE[np.arange(4), drawn]
    expected = -policy_gradient_estimate(LOGITS, drawn, rewards, baseline or "none")
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "baseline, samples, factor",
    [(None, 1, 1.0), ("mean", 1, 1.0), ("optimal", 1, 1.0), ("mean", 2, 0.5), ("mean", 8, 7 / 8)],
)
def test_the_mean_of_many_draws_is_the_exact_gradient(baseline, samples, factor):
    """Times 1 - 1/n where the draw itself is among the n rewards of its baseline."""
    count = 40000 // samples
    rows, rewards = np.tile(ROWS[:1], (count, 1)), np.tile(TABLE[:1], (count, 1))
    _, gradient = step(logits_model(), rows, rewards, baseline=baseline, samples=samples, seed=1)
    np.testing.assert_allclose(gradient[0], factor * exact(LOGITS, TABLE)[0], atol=0.01)
    assert np.abs(exact(LOGITS, TABLE)[0]).max() > 0.2


def test_the_optimal_baseline_has_the_least_variance():
    """Of what the step computes: the exact second moments of one draw, by the baseline."""
    p = softmax(LOGITS[:1])[0]
    scores = np.eye(3) - p
    squares = (scores**2).sum(1)
    np.testing.assert_allclose(squares, 1 - 2 * p + (p**2).sum())
    best = (p * TABLE[0] * squares).sum() / (p * squares).sum()
    moment = lambda b: (p * (TABLE[0] - b) ** 2 * squares).sum()  # noqa: E731
    others = np.linspace(-1, 1, 21)
    assert (np.array([moment(b) for b in others]) >= moment(best)).all()
    count = 20000
    rows, rewards = np.tile(ROWS[:1], (count, 1)), np.tile(TABLE[:1], (count, 1))
    strategy = training.PolicyGradient(logits_model(), looked_up, "optimal", seed=3)
    drawn = np.random.default_rng(0).choice(3, (count, 1), p=p).astype("int32")
    log_p = np.log(np.tile(p, (count, 1))).astype("float32")
    r = np.take_along_axis(rewards, drawn, 1)
    found = strategy._baseline(ops.convert_to_tensor(log_p), drawn, r, np.ones(count, "float32"))
    assert float(found) == pytest.approx(best, abs=0.02) and rows.shape == (count, 1)


def test_the_reward_is_learned_and_evaluated():
    strategy = training.PolicyGradient(classifier(regularized=True), hit, samples=8, seed=0)
    strategy.compile(keras.optimizers.Adam(0.1), weighted_metrics=["accuracy"])
    plain = classifier(regularized=True)
    history = fit(strategy, epochs=12)
    assert history["loss"][-1] < history["loss"][0] - 0.1
    found = strategy.evaluate(TOKENS, LABELS, verbose=0, return_dict=True)
    plain.set_weights(strategy.model.get_weights())
    added = float(sum(plain.losses))
    assert added > 0.01
    assert found["loss"] == pytest.approx(added - found["accuracy"], rel=1e-5)
    best = strategy.predict(TOKENS, verbose=0).argmax(-1)
    assert found["accuracy"] == pytest.approx((best == LABELS).mean())


@keras.saving.register_keras_serializable(package="tests")
def nothing(y_true, sampled):
    return ops.zeros_like(sampled)


def test_without_a_reward_only_regularizers_train():
    """Nothing drawn moves anything."""
    model = bag_of_words(regularized=True)
    before = numpy_weights(model)
    soft = keras.Model(model.input, keras.layers.Softmax()(model.output))
    strategy = training.PolicyGradient(soft, nothing)
    strategy.compile(keras.optimizers.SGD(RATE))
    history = fit(strategy, epochs=1)
    shrinks = [(1 - RATE * 2 * l2) ** 2 for l2 in (0.01, 0.02, 0.0)]
    for x, w, factor in zip(numpy_weights(model), before, shrinks, strict=True):
        np.testing.assert_allclose(x, factor * w, rtol=1e-5)
    assert history["loss"][0] > 0


LIVELY = {"regularized": True, "dropout": 0.4, "normalized": True}


def run_of(wrap, tmp_path=None, epochs=2):
    strategy = wrap(training.PolicyGradient(classifier(**LIVELY), hit, samples=2, seed=4))
    strategy.compile(keras.optimizers.Adam(0.1))
    return run(strategy, tmp_path, epochs)


@pytest.fixture(scope="module")
def undisturbed():
    return run_of(lambda strategy: strategy)


def test_resuming_gives_the_undisturbed_run(tmp_path, undisturbed):
    run_of(lambda strategy: strategy, tmp_path, epochs=1)
    assert_the_rest_of(undisturbed, run_of(lambda strategy: strategy, tmp_path))


@pytest.mark.parametrize("name", BARELY_AROUND)
def test_a_strategy_without_strength_around_it_changes_nothing(name, undisturbed):
    """Both passes of adversarial training draw the same classes; the generator counts once."""
    losses, variables = run_of(BARELY_AROUND[name])
    np.testing.assert_allclose(losses, undisturbed[0], rtol=1e-6)
    for x, y in zip(variables, undisturbed[1], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_strategies_with_strength_around_it():
    strategy = adversarial(penalty(training.PolicyGradient(classifier(), hit, samples=8, seed=0)))
    strategy.compile(keras.optimizers.Adam(0.1))
    before = numpy_weights(strategy)
    assert np.isfinite(fit(strategy, epochs=1)["loss"]).all()
    assert not any((x == y).all() for x, y in zip(numpy_weights(strategy), before, strict=True))
    assert -1 <= strategy.evaluate(TOKENS, LABELS, verbose=0) <= 0


def test_mixed_precision():
    """The scale of the loss cancels; the draws are those of float32 up to its rounding."""
    found = []
    for dtype in ("float32", "mixed_float16"):
        model = classifier(dtype=dtype)
        strategy = training.PolicyGradient(model, hit, baseline=None, seed=2)
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), 1024.0)
        strategy.compile(optimizer)
        strategy.train_on_batch(TOKENS, LABELS)
        found.append(numpy_weights(model))
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(x, y, atol=5e-3)


def test_a_python_reward_is_that_of_keras_ops():
    def same(y_true, sampled):
        return TABLE[y_true[:, 0], sampled]

    reward = training.python_objective(same, per_sample=True)
    strategy = training.PolicyGradient(logits_model(), reward, seed=5)
    strategy.compile(keras.optimizers.SGD(1.0))
    strategy.train_on_batch(ROWS, ROWS)
    _, gradient = step(logits_model(), ROWS, TABLE, seed=5)
    np.testing.assert_allclose(LOGITS - numpy_weights(strategy.model)[0], gradient, atol=1e-6)


def test_it_is_saved_with_its_reward(tmp_path):
    strategy = training.PolicyGradient(classifier(), hit, "optimal", samples=2, seed=7)
    check_config(strategy)
    strategy.compile("sgd")
    fit(strategy, epochs=1)
    strategy.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    assert again.reward is hit and again.baseline == "optimal"
    assert again.evaluate(TOKENS, LABELS, verbose=0) == strategy.evaluate(TOKENS, LABELS, verbose=0)
    assert training.PolicyGradient(classifier(), "tests>hit").reward is hit
    with pytest.raises(ValueError, match="`reward` must be registered with"):
        training.PolicyGradient(classifier(), lambda y, s: s).get_config()


def test_a_probability_of_zero_stays_finite():
    model = logits_model(np.array([[200.0, -200.0, 0.0]], "float32"))
    _, gradient = step(model, ROWS[:1], TABLE[:1], baseline="optimal")
    assert np.isfinite(gradient).all()


def test_what_is_refused():
    model = logits_model()
    for options, message in (
        ({"baseline": "best"}, "`baseline` must be one of.*Received: 'best'"),
        ({"samples": 0}, "`samples` must be a positive integer. Received: 0"),
        ({"reward": None}, "`reward` must be a callable.*Received: None"),
    ):
        with pytest.raises(ValueError, match=message):
            training.PolicyGradient(**{"model": model, "reward": hit, **options})
    with pytest.raises(ValueError, match="`model` must be no strategy for PolicyGradient"):
        training.PolicyGradient(training.Strategy(model), hit)
    strategy = training.PolicyGradient(model, lambda y, s: s[:, None])
    strategy.compile("sgd")
    with pytest.raises(ValueError, match=r"`reward` must return.*Received: shape \(.*, 1\)"):
        strategy.train_on_batch(ROWS, TABLE)
    strategy = training.PolicyGradient(keras.Sequential(model.layers[:1]), looked_up)
    strategy.compile("sgd")
    with pytest.raises(ValueError, match=r"`model` must have one output.*Received: \(4, 1, 3\)"):
        strategy.train_on_batch(ROWS, TABLE)
    strategy = training.PolicyGradient(model, hit)
    strategy.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`loss` of `compile` must be None.*Received: 'mse'"):
        strategy.train_on_batch(ROWS, ROWS)
