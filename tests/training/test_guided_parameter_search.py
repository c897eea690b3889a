"""Guided parameter search: the step by hand, a quadratic, and weights of many dimensions."""

import keras
import numpy as np
import pytest
from contract import check_config, to_numpy
from keras import ops
from point_model import HESSIAN, ONES, SLOPE, point_model, position, quadratic
from references.gradient_free import mgs_update
from strategy_models import (
    BARELY_AROUND,
    BATCH,
    LABELS,
    TOKENS,
    WEIGHTS,
    assert_the_rest_of,
    bag_of_words,
    compiled,
    fit,
    numpy_weights,
    run,
    value_and_gradients,
)

from kexue_keras import training
from kexue_keras.training.guided_parameter_search import importance_weights, log_density
from kexue_keras.training.seeded_noise import SeededNoise


@keras.saving.register_keras_serializable(package="tests")
def crossentropies(y_true, y_pred):
    """A value for every sample; it needs no gradient here, but NumPy has it too."""
    return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)


def sgd():
    return keras.optimizers.SGD(1.0)


def log_normal(x, mean, sigmas):
    """Of a list of arrays, float64."""
    return -sum(
        0.5 * (((a - b) / s) ** 2).sum() + a.size * np.log(s * np.sqrt(2 * np.pi))
        for a, b, s in zip(x, mean, sigmas, strict=True)
    )


CASES = {
    "fixed": {"sigma": 0.2},
    "gradient": {"sigma": "gradient"},
    "near": {"sigma": 0.2, "mixture": 1.0},
    "guided": {"sigma": 0.2, "mixture": 0.0, "guide_rate": 0.3},
    "without density": {"sigma": 0.2, "importance": False},
}


@pytest.mark.parametrize("name", list(CASES))
def test_one_step_by_hand(name):
    """Densities of all weights in float64, sample weights in guide and objective."""
    case = {"mixture": 0.5, "guide_rate": 1.0, "importance": True, **CASES[name]}
    temperature, n = 0.05, 5
    model = bag_of_words()
    before = [w.astype("float64") for w in numpy_weights(model)]
    strategy = training.GuidedParameterSearch(
        model, crossentropies, candidates=n, temperature=temperature, seed=3, **case
    )
    batch = (TOKENS[:BATCH], LABELS[:BATCH], WEIGHTS[:BATCH].astype("float64"))
    found = compiled(strategy, sgd()).train_on_batch(*batch)
    loss, gradients = value_and_gradients(before, *batch)
    assert float(np.asarray(found).ravel()[0]) == pytest.approx(loss, rel=1e-5)
    steps = [case["guide_rate"] * g for g in gradients]
    sigmas = [np.abs(s).mean() if name == "gradient" else 0.2 for s in steps]
    noise = SeededNoise(keras.random.SeedGenerator(3), 4, n)
    moves, log_weights, zeros = [], [], [np.zeros_like(w) for w in before]
    for i in range(n):
        guided = float(noise.uniform(i, 3, ())) >= case["mixture"]
        units = [to_numpy(noise.normal(i, k, w.shape)) for k, w in enumerate(before)]
        parts = zip(units, sigmas, steps, strict=True)
        move = [s * u.astype("float64") - guided * step for u, s, step in parts]
        moved = [w + m for w, m in zip(before, move, strict=True)]
        log_q = -np.inf
        for share, center in ((case["mixture"], zeros), (1 - case["mixture"], steps)):
            if share:
                center = [-c for c in center]
                log_q = np.logaddexp(log_q, np.log(share) + log_normal(move, center, sigmas))
        change = value_and_gradients(moved, *batch)[0] - loss
        moves.append(move)
        log_weights.append(-change / temperature - case["importance"] * log_q)
    weights = np.exp(np.array(log_weights) - max(log_weights))
    weights /= weights.sum()
    for k, (x, w) in enumerate(zip(numpy_weights(model), before, strict=True)):
        expected = w + sum(p * move[k] for p, move in zip(weights, moves, strict=True))
        np.testing.assert_allclose(x, expected, rtol=1e-3, atol=2e-4)


def test_one_step_equals_the_reference():
    model, start = point_model(0.4, -0.3), np.array([0.4, -0.3])
    n, sigma, mixture, temperature = 6, 0.7, 0.4, 0.3
    strategy = training.GuidedParameterSearch(
        model, quadratic, n, sigma, mixture, temperature, seed=2
    )
    strategy.compile(sgd(), quadratic)
    strategy.train_on_batch(ONES, ONES)
    noise = SeededNoise(keras.random.SeedGenerator(2), 2, n)
    loss = lambda x: SLOPE @ x + x @ HESSIAN @ x / 2  # noqa: E731
    center = -(SLOPE + HESSIAN @ start)
    guided = [float(noise.uniform(i, 1, ())) >= mixture for i in range(n)]
    units = np.array([to_numpy(noise.normal(i, 0, (2,))) for i in range(n)], "float64")
    candidates = sigma * units + np.outer(guided, center)
    losses = [loss(start + x) for x in candidates]
    expected = mgs_update(candidates, losses, loss(start), center, sigma, mixture, temperature)
    assert 0 < sum(guided) < n
    np.testing.assert_allclose(position(model) - start, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_on_a_quadratic_the_move_is_that_of_newton(temperature):
    """For every temperature, as the article shows."""
    start = np.array([0.4, -0.3])
    model = point_model(*start)
    strategy = training.GuidedParameterSearch(
        model, quadratic, candidates=8000, sigma=1.5, temperature=temperature, seed=0
    )
    strategy.compile(sgd(), quadratic)
    strategy.train_on_batch(ONES, ONES)
    newton = -np.linalg.solve(HESSIAN, SLOPE + HESSIAN @ start)
    np.testing.assert_allclose(position(model) - start, newton, atol=0.08)


def test_the_density_is_that_of_the_mixture():
    generator = np.random.default_rng(0)
    d, sigma, mixture = 300, 0.3, 0.3
    step = 0.05 * generator.normal(size=d)
    units = generator.normal(size=(6, d))
    guided = np.array([0, 1, 0, 1, 1, 0.0])
    moves = sigma * units - guided[:, None] * step
    expected = np.logaddexp(
        np.log(mixture) - (moves**2).sum(1) / (2 * sigma**2),
        np.log(1 - mixture) - ((moves + step) ** 2).sum(1) / (2 * sigma**2),
    )
    k = step / sigma
    parts = ((units**2).sum(1) - d, units @ k, guided)
    parts = [part.astype("float32") for part in parts]
    found = to_numpy(log_density(*parts, np.float32((k**2).sum()), mixture))
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-3)


@pytest.mark.parametrize("dimension", [1e5, 1e8])
def test_the_weights_of_many_dimensions_are_finite(dimension):
    generator = np.random.default_rng(0)
    excess = (np.sqrt(2 * dimension) * generator.normal(size=8)).astype("float32")
    along = (np.sqrt(dimension) * generator.normal(size=8)).astype("float32")
    guided = np.arange(8) % 2 * np.float32(1)
    log_q = log_density(excess, along, guided, np.float32(dimension), 0.5)
    weights = to_numpy(importance_weights(1e4 * np.ones(8, "float32"), log_q, 0.01))
    assert np.isfinite(weights).all() and weights.sum() == pytest.approx(1, rel=1e-6)
    assert weights.argmax() == excess.argmax()


def test_the_limits_of_the_temperature():
    losses = np.array([3.0, 1.0, 2.0], "float32")
    log_q = np.log(np.array([0.2, 0.3, 0.5], "float32"))
    cold = to_numpy(importance_weights(losses, log_q, 1e-3))
    np.testing.assert_allclose(cold, [0, 1, 0], atol=1e-6)
    inverse = 1 / np.exp(log_q)
    hot = to_numpy(importance_weights(losses, log_q, 1e9))
    np.testing.assert_allclose(hot, inverse / inverse.sum(), rtol=1e-5)


def move_of(objective, **options):
    model = bag_of_words()
    before = numpy_weights(model)
    strategy = training.GuidedParameterSearch(model, objective, seed=0, **options)
    compiled(strategy, sgd()).train_on_batch(TOKENS, LABELS)
    return [x - y for x, y in zip(numpy_weights(model), before, strict=True)]


def test_a_candidate_without_a_finite_objective_has_no_weight():
    """All but one, in a Python function; then the move is that candidate."""
    calls = []

    def only_the_second(y_true, y_pred):
        calls.append(len(y_pred))
        return 5.0 if len(calls) == 2 else np.nan

    objective = training.python_objective(only_the_second)
    move = move_of(objective, candidates=3, sigma=0.1, mixture=1.0)
    noise = SeededNoise(keras.random.SeedGenerator(0), 4, 3)
    assert calls == [8, 8, 8]
    for k, x in enumerate(move):
        np.testing.assert_allclose(x, 0.1 * to_numpy(noise.normal(1, k, x.shape)), atol=1e-6)


LIVELY = {"regularized": True, "dropout": 0.4, "normalized": True}


def run_of(wrap, tmp_path=None, epochs=2):
    strategy = training.GuidedParameterSearch(
        bag_of_words(**LIVELY), crossentropies, temperature=0.1, seed=4, guide_rate=0.1
    )
    strategy = wrap(strategy)
    compiled(strategy, keras.optimizers.Adam(0.1), metrics=["accuracy"])
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
    np.testing.assert_allclose(losses, undisturbed[0], rtol=1e-4)
    for x, y in zip(variables, undisturbed[1], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-3)


def test_hot_and_without_density_it_follows_the_guide():
    """The mean of the candidates is half the guide's step; the losses and seeds are plain SGD's."""
    model = bag_of_words(**LIVELY)
    strategy = training.GuidedParameterSearch(
        model, crossentropies, sigma=1e-7, mixture=0.0, temperature=1e9, importance=False
    )
    plain = bag_of_words(**LIVELY)
    found = [fit(compiled(x, sgd()), epochs=2)["loss"] for x in (strategy, plain)]
    np.testing.assert_allclose(*found, rtol=1e-4)
    for x, y in zip(model.variables, plain.variables, strict=True):
        np.testing.assert_allclose(to_numpy(x.value), to_numpy(y.value), atol=1e-4)


def test_mixed_precision_scales_and_skips():
    found = {}
    for scale in (1.0, 1024.0, 2.0**40):
        model = bag_of_words(dtype="mixed_float16")
        before = numpy_weights(model)
        optimizer = keras.optimizers.LossScaleOptimizer(sgd(), scale)
        strategy = training.GuidedParameterSearch(model, crossentropies, sigma=0.1, seed=0)
        compiled(strategy, optimizer).train_on_batch(TOKENS, LABELS)
        found[scale] = numpy_weights(model)
    for x, y, start in zip(found[1.0], found[1024.0], before, strict=True):
        np.testing.assert_allclose(x, y, atol=5e-3)
        assert np.abs(x - start).max() > 0.02
    for x, start in zip(found[2.0**40], before, strict=True):
        np.testing.assert_array_equal(x, start)


def test_the_config_and_what_is_refused():
    strategy = training.GuidedParameterSearch(
        bag_of_words(), "tests>crossentropies", 3, 0.1, 0.25, 2.0, 0.5, False, seed=1
    )
    assert strategy.search_objective is crossentropies
    check_config(strategy)
    model = bag_of_words()
    for options, message in (
        ({"candidates": 0}, "`candidates` must be a positive integer. Received: 0"),
        ({"sigma": -1}, "`sigma` must be positive or 'gradient'. Received: -1"),
        ({"sigma": "large"}, "`sigma` must be positive or 'gradient'. Received: 'large'"),
        ({"mixture": 1.5}, "`mixture` must be from 0 to 1. Received: 1.5"),
        ({"temperature": 0}, "`temperature` must be positive. Received: 0"),
        ({"guide_rate": float("inf")}, "`guide_rate` must be positive. Received: inf"),
        ({"objective": 3}, "`objective` must be a callable.*Received: 3"),
    ):
        with pytest.raises(ValueError, match=message):
            training.GuidedParameterSearch(model, **{"objective": crossentropies, **options})
    with pytest.raises(ValueError, match="`model` must be no strategy for Guided"):
        training.GuidedParameterSearch(strategy, crossentropies)
    cases = (
        (lambda y, p: p, None, r"`objective` must return a scalar or \(batch,\).*\(8, 3\)"),
        (lambda y, p: ops.mean(p), WEIGHTS, r"a number for every sample.*Received: shape \(\)"),
    )
    for objective, weights, message in cases:
        strategy = compiled(training.GuidedParameterSearch(model, objective))
        with pytest.raises(ValueError, match=message):
            strategy.train_on_batch(TOKENS, LABELS, weights)
