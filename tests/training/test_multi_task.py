"""Training several tasks: steps by hand in NumPy, weights, directions, metrics, refusals."""

import json

import keras
import numpy as np
import pytest
from contract import check_config, to_numpy
from keras import ops
from multi_task_models import RNG, SIZE, TASKS, WEIGHTS, X, Y, by_hand, compiled, fit, model_of
from strategy_models import adversarial, fill, numpy_weights, penalty, two_outputs
from two_devices import run_on_two_devices

from kexue_keras import training

WAYS = [
    {"weighting": "equal"},
    {"weighting": "initial"},
    {"weighting": "prior", "prior": [1.0, 0.5, 25.0]},
    {"weighting": "geometric"},
    {"weighting": "generalized_mean", "gamma": 0.5},
    {"weighting": "gradient_norm"},
    {"combine": "min_norm"},
    {"combine": "min_norm", "weighting": "gradient_norm"},
    {"combine": "main_auxiliary", "main": "b"},
    {"combine": "mixed", "main": ["c", 0]},
]


@pytest.mark.eager  # with graphs, too, in test_combinations.py
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())))
def test_steps_by_hand(way):
    model = model_of()
    expected, factors, cosines = by_hand(numpy_weights(model), way, WEIGHTS)
    history = fit(compiled(training.MultiTask(model, **way)), sample_weight=WEIGHTS)
    for x, y in zip(numpy_weights(model), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    found = [history[f"weight_{name}"][-1] for name in TASKS]
    np.testing.assert_allclose(found, factors, rtol=1e-4, atol=1e-5)
    found = [history[f"cosine_{pair}"][-1] for pair in ("a_b", "a_c", "b_c")]
    np.testing.assert_allclose(found, cosines, rtol=1e-4, atol=1e-5)


def test_equal_weights_and_the_sum_are_ordinary_training():
    """To the rounding of sums, after 20 steps with dropout, a regularizer and loss weights."""
    options = {"dropout": 0.3, "regularizer": keras.regularizers.L2(0.05)}
    found = []
    for make in (lambda model: model, training.MultiTask):
        model = model_of(**options)
        strategy = compiled(make(model), loss_weights={"a": 1.0, "b": 0.3, "c": 2.0})
        history = fit(strategy, sample_weight=WEIGHTS, epochs=10)
        found.append((numpy_weights(model), history))
    (expected, history), (weights, with_tasks) = found
    for x, y in zip(weights, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    for name, values in history.items():
        np.testing.assert_allclose(with_tasks[name], values, rtol=2e-5)
    extra = {f"weight_{name}" for name in TASKS} | {"cosine_a_b", "cosine_a_c", "cosine_b_c"}
    assert set(with_tasks) - set(history) == extra


def scaled_and_shifted(y_true, y_pred):
    """a (y - f)^2 + b, with y, a and b in the target."""
    y, a, b = ops.split(y_true, 3, axis=-1)
    return ops.mean(a * (y - y_pred) ** 2 + b, axis=-1)


@pytest.mark.parametrize("weighting", ["equal", "initial", "geometric", "gradient_norm"])
def test_scales_and_shifts_of_losses(weighting):
    """The direction of the update of shared weights."""
    found = []
    model = model_of()
    start = numpy_weights(model)
    strategy = training.MultiTask(model, weighting)
    compiled(strategy, keras.optimizers.SGD(1.0), scaled_and_shifted)
    changes = [(1, 1, 1), (0, 0, 0)], [(3, 0.2, 10), (0, 0, 0)], [(1, 1, 1), (0.5, 3, 2)]
    for scales, shifts in changes:
        model.set_weights(start)
        if weighting == "initial":
            strategy.initial_losses.assign(np.zeros(8))
        groups = zip(TASKS, scales, shifts, strict=True)
        y = {name: np.hstack([Y[name], 0 * Y[name] + a, 0 * Y[name] + b]) for name, a, b in groups}
        strategy.train_on_batch(X, y)
        move = numpy_weights(model)[0] - start[0]
        found.append(move / np.linalg.norm(move))
    plain, scaled, shifted = found
    same = np.abs(scaled - plain).max() < 1e-5, np.abs(shifted - plain).max() < 1e-5
    expected = {"equal": (False, True), "gradient_norm": (True, True)}
    assert same == expected.get(weighting, (True, False))


def test_a_task_without_gradient_takes_no_part():
    """No sample of a task in a batch: the others' direction, and nothing that is no number."""
    for way in (WAYS[1], WAYS[4], WAYS[7], WAYS[9]):
        model = model_of()
        weights = {**WEIGHTS, "a": np.zeros(8)}
        strategy = compiled(training.MultiTask(model, **way), run_eagerly=eager())
        history = fit(strategy, sample_weight=weights, epochs=1)
        assert all(np.isfinite(values).all() for values in history.values()), way
        assert all(np.isfinite(w).all() for w in numpy_weights(model)), way
        np.testing.assert_array_equal(numpy_weights(model)[1], numpy_weights(model_of())[1])
        moved = np.abs(numpy_weights(model)[0] - numpy_weights(model_of())[0]).max()
        assert moved > 0, way
        assert history["cosine_a_b"] == [0] and history["cosine_b_c"] != [0]


def eager():
    return keras.backend.backend() != "jax"


def test_the_first_loss_of_a_task_is_that_of_its_first_batch():
    strategy = compiled(training.MultiTask(model_of(), "initial"))
    first = {**WEIGHTS, "a": np.zeros(8)}
    fit(strategy, sample_weight=first, epochs=1)
    known = to_numpy(strategy.initial_losses.value)
    assert known[0] == 0 and (known[1:3] > 0).all() and not known[3:].any()
    fit(strategy, sample_weight=WEIGHTS, epochs=1)
    again = to_numpy(strategy.initial_losses.value)
    assert again[0] > 0
    np.testing.assert_array_equal(again[1:], known[1:])


TOKENS = RNG.integers(0, 9, (8, 5))
LABELS = {"classes": np.arange(8) % 3, "score": np.linspace(-1, 1, 8)[:, None]}


@pytest.mark.parametrize("outer", [adversarial, lambda model: penalty(model, weight=0.1)])
def test_inside_another_strategy(outer):
    """It trains, counts a batch once, and its metrics are the outermost strategy's."""
    strategy = outer(training.MultiTask(two_outputs(dict), "gradient_norm", "min_norm"))
    strategy.compile(keras.optimizers.SGD(0.02), {"classes": crossentropy(), "score": "mse"})
    history = strategy.fit(TOKENS, LABELS, batch_size=4, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    names = {"weight_classes", "weight_score", "cosine_classes_score"}
    assert names <= set(history) and np.abs(history["cosine_classes_score"]).max() <= 1 + 1e-5
    counts = to_numpy(strategy.model.statistics.counts.value)
    np.testing.assert_array_equal(counts[0, :2], [2, 2])
    found = strategy.evaluate(TOKENS, LABELS, verbose=0, return_dict=True)
    assert set(found) == {"loss", "classes_loss", "score_loss"}


def crossentropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_a_penalty_around_is_added_as_it_is():
    """Whatever the weights of the tasks: the same change as around ordinary training."""
    moves = []
    for make in (lambda model: model, lambda model: training.MultiTask(model, combine="min_norm")):
        for weight in (0.0, 2.0):
            model = two_outputs(dict)
            before = numpy_weights(model)
            strategy = penalty(make(model), weight=weight)
            options = {"run_eagerly": eager(), "jit_compile": not eager()}
            losses = {"classes": crossentropy(), "score": "mse"}
            strategy.compile(keras.optimizers.SGD(1.0), losses, **options)
            strategy.train_on_batch(TOKENS, LABELS)
            moves.append(numpy_weights(model)[0] - before[0])
    plain, penalized, min_norm, both = moves
    np.testing.assert_allclose(both - min_norm, penalized - plain, rtol=1e-3, atol=1e-6)
    assert np.abs(both - min_norm).max() > 1e-3


def test_validation_and_evaluation_have_none_of_the_metrics():
    metrics = {name: ["mae"] for name in TASKS}
    strategy = compiled(training.MultiTask(model_of(list)), metrics=metrics)
    history = fit(strategy, list(Y.values()), validation_data=(X, list(Y.values())))
    assert {name for name in history if "cosine" in name} == {
        "cosine_a_b", "cosine_a_c", "cosine_b_c"
    }  # fmt: skip
    assert "val_a_mae" in history and history["weight_a"] == [1, 1]
    found = strategy.evaluate(X, list(Y.values()), verbose=0, return_dict=True)
    plain = compiled(model_of(list), metrics=metrics)
    assert set(found) == set(plain.evaluate(X, list(Y.values()), verbose=0, return_dict=True))
    assert not any("weight" in name for name in strategy.test_on_batch(
        X, list(Y.values()), return_dict=True
    ))  # fmt: skip


def test_resuming_gives_the_undisturbed_run(tmp_path):
    def make():
        strategy = training.MultiTask(model_of(), "initial", "min_norm")
        return compiled(strategy, keras.optimizers.Adam(0.01))

    whole = make()
    fit(whole, epochs=1)
    whole.save_weights(tmp_path / "x.weights.h5")
    history = fit(whole, epochs=3, initial_epoch=1)
    resumed = make()
    resumed.optimizer.build(resumed.trainable_variables)
    resumed.load_weights(tmp_path / "x.weights.h5")
    assert fit(resumed, epochs=3, initial_epoch=1) == history
    for x, y in zip(resumed.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(x.value), to_numpy(y.value), err_msg=x.path)
    assert to_numpy(resumed.initial_losses.value).any()


def test_reloaded(tmp_path):
    strategy = training.MultiTask(model_of(), "initial", "mixed", main=["a", 2])
    check_config(strategy)
    fit(compiled(strategy), epochs=1)
    strategy.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    assert json.dumps(again.get_config()) == json.dumps(strategy.get_config())
    np.testing.assert_array_equal(
        to_numpy(again.initial_losses.value), to_numpy(strategy.initial_losses.value)
    )
    losses = [fit(x, epochs=1)["loss"] for x in (again, strategy)]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    for way in WAYS:
        check_config(training.MultiTask(model_of(), **way))


def test_mixed_precision(tmp_path):
    """Weights are of the losses, not of the scaled ones; a step that overflows leaves no trace."""
    model = model_of(dtype="mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=256)
    strategy = training.MultiTask(model, "gradient_norm", "min_norm")
    history = fit(compiled(strategy, optimizer), epochs=2)
    exact = model_of()
    expected = fit(compiled(training.MultiTask(exact, "gradient_norm", "min_norm")), epochs=2)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=0.05, atol=0.02)
    for x, y in zip(numpy_weights(model), numpy_weights(exact), strict=True):
        np.testing.assert_allclose(x, y, rtol=0.05, atol=0.02)


def test_gradients_that_are_not_finite_leave_no_trace():
    model = model_of(dtype="mixed_float16")
    before = numpy_weights(model)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05))
    strategy = compiled(training.MultiTask(model, "initial", "min_norm"), optimizer)
    strategy.train_on_batch(X, {name: y + 1e30 for name, y in Y.items()})
    for x, y in zip(numpy_weights(model), before, strict=True):
        np.testing.assert_array_equal(x, y)
    assert np.isfinite(to_numpy(strategy.initial_losses.value)).all()
    assert not to_numpy(strategy.statistics.counts.value)[1:].any()
    strategy.optimizer.dynamic_scale.assign(1.0)
    strategy.initial_losses.assign(np.zeros(8))
    strategy.train_on_batch(X, Y)
    assert all(np.isfinite(w).all() for w in numpy_weights(model))
    assert any((x != y).any() for x, y in zip(numpy_weights(model), before, strict=True))


REPLICAS = """
import multi_task_models as t
from kexue_keras.training import MultiTask
found = []
for replicas in (1, 2):
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"][:replicas])
    with mirrored.scope():
        strategy = t.compiled(MultiTask(t.model_of(), "initial", "min_norm"))
    history = t.fit(strategy, epochs=2)
    found.append([history, [w.tolist() for w in strategy.get_weights()]])
print(json.dumps(found))
"""


@pytest.mark.once
@pytest.mark.slow  # test_combinations.py has the like of it
def test_two_replicas_are_one():
    (expected, expected_weights), (history, weights) = run_on_two_devices(REPLICAS)
    for name, values in expected.items():
        assert history[name] == pytest.approx(values, rel=1e-4, abs=1e-5), name
    for x, y in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "way, message",
    [
        ({"weighting": "best"}, r"`weighting` must be one of \('equal'.*Received: 'best'"),
        ({"combine": "max"}, r"`combine` must be one of \('sum'.*Received: 'max'"),
        ({"combine": "main_auxiliary"}, "`main` must be the index or name.*Received: None"),
        ({"combine": "main_auxiliary", "main": ["a"]}, r"`main` must be the index.*\['a'\]"),
        ({"combine": "main_auxiliary", "main": True}, "`main` must be the index.*True"),
        ({"combine": "mixed", "main": "a"}, "`main` must be a list of.*Received: 'a'"),
        ({"combine": "mixed", "main": []}, r"`main` must be a list of.*Received: \[\]"),
        ({"main": 0}, "`main` must be None for `combine='sum'`. Received: 0"),
        ({"weighting": "prior"}, "`prior` must be a list of positive losses.*Received: None"),
        ({"weighting": "prior", "prior": [1, 0]}, r"`prior` must be a list.*Received: \[1, 0\]"),
        ({"prior": [1.0]}, r"`prior` is of `weighting='prior'` alone. Received: \[1.0\]"),
        ({"weighting": "generalized_mean"}, "`gamma` must be a finite number.*Received: None"),
        ({"weighting": "geometric", "gamma": 1}, "`gamma` is of `weighting='generalized_mean'`"),
    ],
)
def test_arguments_that_are_refused(way, message):
    with pytest.raises(ValueError, match=message):
        training.MultiTask(model_of(), **way)


@pytest.mark.parametrize(
    "way, message",
    [
        ({"combine": "main_auxiliary", "main": "d"}, r"`main` must be of the tasks \['a', 'b'"),
        ({"combine": "main_auxiliary", "main": 3}, "`main` must be of the tasks.*Received: 3"),
        ({"combine": "mixed", "main": ["a", 0]}, r"each once. Received: \['a', 0\]"),
        ({"weighting": "prior", "prior": [1, 2]}, "`prior` must have a loss for each of the tasks"),
    ],
)
def test_what_the_first_step_refuses(way, message):
    strategy = compiled(training.MultiTask(model_of(), **way))
    with pytest.raises(ValueError, match=message):
        strategy.train_on_batch(X, Y)


def test_models_without_several_losses_are_refused():
    single = fill(keras.Sequential([keras.Input((SIZE,)), keras.layers.Dense(1, name="only")]))
    strategy = training.MultiTask(single)
    strategy.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"must be 2 to 8 losses.*Received: 1 \(mse\)"):
        strategy.train_on_batch(X, Y["a"])
    strategy = training.MultiTask(model_of(), name="tasks")
    strategy.compile("sgd")
    with pytest.raises(ValueError, match="`loss` of `compile` is needed by 'tasks'. Received: N"):
        strategy.train_on_batch(X, Y)
    with pytest.raises(ValueError, match="no strategy for MultiTask.*put Strategy around"):
        training.MultiTask(training.Strategy(model_of()))
