import csv
import json
import os

import keras
import numpy as np
import pytest

from kexue_keras.experiments.run import Run

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = X @ np.array([[1.0], [-1.0], [0.5], [2.0]], "float32")
EPOCHS = 4
SCORES = [0.2, 0.7, 0.1, 0.7]


def make_model(seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model


def make_run(directory, model, config=None, **options):
    run = Run(
        directory,
        {"rate": 0.05, "text": "题"} if config is None else config,
        lambda: {"score": SCORES[len(run.history)]},
        monitor="score",
        **options,
    )
    return run


def fit(model, epochs, callbacks=(), initial_epoch=0):
    options = dict(batch_size=4, shuffle=False, verbose=0, initial_epoch=initial_epoch)
    model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **options)


def train(directory, epochs=EPOCHS, seed=0, config=None, **options):
    model = make_model(seed)
    run = make_run(directory, model, config, **options)
    done = run.resume(model)
    fit(model, epochs, [run], initial_epoch=done)
    return model, run


def state(model):
    values = [keras.ops.convert_to_numpy(v) for v in model.variables + model.optimizer.variables]
    return [value for value in values if value.dtype.kind in "fiu"]


def assert_same_state(model, expected):
    for x, y in zip(state(model), state(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


def rows_of(directory):
    with open(directory / "history.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed")
    return directory, *train(directory)


def test_files(undisturbed):
    directory, model, run = undisturbed
    assert sorted(path.name for path in directory.iterdir()) == [
        "best.weights.h5",
        "config.json",
        "curves.png",
        "history.csv",
        "state-0004.random.json",
        "state-0004.weights.h5",
    ]
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    assert config == {"rate": 0.05, "text": "题"}
    rows = rows_of(directory)
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert [float(row["score"]) for row in rows] == SCORES
    assert set(rows[0]) == {"epoch", "loss", "score"}
    assert (directory / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert run.history == [{k: float(v) for k, v in row.items()} for row in rows]


@pytest.mark.once
def test_the_first_of_the_best_epochs_is_kept(undisturbed, tmp_path):
    directory, _, run = undisturbed
    assert run.best_epoch == 1
    assert run.best_path == directory / "best.weights.h5"
    expected, _ = train(tmp_path, epochs=2)
    best = make_model(seed=5)
    best.optimizer.build(best.trainable_variables)
    best.load_weights(run.best_path)
    for x, y in zip(best.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("first", [1, 2, 3])
def test_resuming_gives_the_undisturbed_weights(undisturbed, tmp_path, first):
    """Dropout, Adam's moments and its step count go on; the new model begins otherwise."""
    directory, expected, run = undisturbed
    train(tmp_path, epochs=first)
    model, resumed = train(tmp_path, seed=7)
    assert_same_state(model, expected)
    assert len(resumed.history) == EPOCHS and resumed.best_epoch == run.best_epoch
    for found, row in zip(rows_of(tmp_path), rows_of(directory), strict=True):
        np.testing.assert_allclose(float(found["loss"]), float(row["loss"]), rtol=1e-5)


def test_without_dropout_state_the_result_would_differ(undisturbed, tmp_path):
    """The test above can fail: weights alone do not continue a run."""
    _, expected, _ = undisturbed
    model, _ = train(tmp_path, epochs=2)
    again = make_model(seed=7)
    again.set_weights(model.get_weights())
    fit(again, 4, initial_epoch=2)
    assert any(
        np.abs(x - y).max() > 1e-3
        for x, y in zip(again.get_weights(), expected.get_weights(), strict=True)
    )


# files in the order they are written, how many renames of the name come first, epochs that count
WRITES_OF_EPOCH_2 = [
    ("config.json", 1, 1),
    ("state-0002.weights.h5", 0, 1),
    ("state-0002.random.json", 0, 1),
    ("history.csv", 1, 1),
    ("best.weights.h5", 1, 2),
    ("curves.png", 1, 2),
]


@pytest.mark.parametrize("name,earlier,counted", WRITES_OF_EPOCH_2)
@pytest.mark.once
def test_an_interruption_at_any_rename_loses_nothing(
    undisturbed, tmp_path, monkeypatch, name, earlier, counted
):
    _, expected, _ = undisturbed
    replace, renamed = os.replace, []

    def interrupted(source, destination):
        renamed.append(os.path.basename(destination))
        if renamed[-1] == name and renamed.count(name) == earlier + 1:
            raise KeyboardInterrupt
        replace(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    assert len(rows_of(tmp_path)) == counted
    model, run = train(tmp_path, seed=7)
    assert_same_state(model, expected)
    assert run.best_epoch == 1
    leftovers = sorted(path.name for path in tmp_path.glob("state-*"))
    assert leftovers == ["state-0004.random.json", "state-0004.weights.h5"]


@pytest.mark.parametrize("number", [3, 4], ids=["state", "best"])
@pytest.mark.once
def test_an_interruption_while_weights_are_written_loses_nothing(
    undisturbed, tmp_path, monkeypatch, number
):
    """In the second epoch; a part of the file is left under the temporary name."""
    _, expected, _ = undisturbed
    save, calls = keras.Model.save_weights, []

    def interrupted(model, path, *args, **kwargs):
        calls.append(path)
        save(model, path, *args, **kwargs)
        if len(calls) == number:
            with open(path, "r+b") as file:
                file.truncate(1000)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save_weights", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    model, _ = train(tmp_path, seed=7)
    assert_same_state(model, expected)


@pytest.mark.once
def test_an_interruption_in_the_middle_of_an_epoch_loses_that_epoch_only(undisturbed, tmp_path):
    _, expected, _ = undisturbed

    class Interruption(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if len(run.history) == 2 and batch == 1:
                raise KeyboardInterrupt

    model = make_model()
    run = make_run(tmp_path, model)
    with pytest.raises(KeyboardInterrupt):
        fit(model, EPOCHS, [run, Interruption()])
    assert len(rows_of(tmp_path)) == 2
    model, _ = train(tmp_path, seed=7)
    assert_same_state(model, expected)


def test_a_finished_run_trains_no_more(undisturbed):
    directory, expected, _ = undisturbed
    model, run = train(directory, seed=7)
    assert_same_state(model, expected)
    assert len(run.history) == EPOCHS


@pytest.mark.once
def test_changed_options_are_refused(tmp_path):
    train(tmp_path, epochs=1)
    with pytest.raises(ValueError, match="`rate` = 0.05.*Received: 0.1"):
        train(tmp_path, config={"rate": 0.1, "text": "题"})
    with pytest.raises(ValueError, match="`extra` = None.*Received: 1"):
        train(tmp_path, config={"rate": 0.05, "text": "题", "extra": 1})
    with pytest.raises(ValueError, match="`text` = '题'.*Received: None"):
        train(tmp_path, config={"rate": 0.05})
    _, run = train(tmp_path, 2, config={"rate": 0.1, "text": "题"}, may_change=["rate"])
    assert len(run.history) == 2


@pytest.mark.once
def test_tuples_in_the_options_equal_lists(tmp_path):
    train(tmp_path, epochs=1, config={"buckets": (8, 16)})
    _, run = train(tmp_path, epochs=2, config={"buckets": (8, 16)})
    assert len(run.history) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "epoch,loss\n",
        "epoch,loss\n2,0.5\n",
        "epoch,loss,score\n1,0.5",
        "epoch,loss,score\n1,x,0.2\n",
        "a,b\n1,2\n",
        "epoch\none\n",
        "?",
    ],
)
@pytest.mark.once
def test_a_broken_history_is_refused_by_name(tmp_path, text):
    train(tmp_path, epochs=1)
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(ValueError, match="history.csv is not a history of epochs"):
        train(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]"])
@pytest.mark.once
def test_a_broken_config_is_refused_by_name(tmp_path, text):
    train(tmp_path, epochs=1)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json"):
        train(tmp_path)


@pytest.mark.once
def test_missing_and_damaged_states_are_refused_by_name(tmp_path):
    train(tmp_path, epochs=1)
    random = tmp_path / "state-0001.random.json"
    for text, message in (("[", "is not valid JSON"), ("[[1, 2], [3, 4]]", "has the state of 2")):
        random.write_text(text)
        with pytest.raises(ValueError, match=f"state-0001.random.json {message}"):
            train(tmp_path)
    random.unlink()
    with pytest.raises(OSError, match="state-0001.random.json"):
        train(tmp_path)
    (tmp_path / "state-0001.weights.h5").unlink()
    with pytest.raises((ValueError, OSError), match="state-0001.weights.h5"):
        train(tmp_path)


@pytest.mark.once
def test_a_wrong_initial_epoch_is_refused(tmp_path):
    train(tmp_path, epochs=2)
    model = make_model()
    run = make_run(tmp_path, model)
    run.resume(model)
    with pytest.raises(ValueError, match="initial_epoch=2.*Received: epoch 0"):
        fit(model, 1, [run])
    assert len(rows_of(tmp_path)) == 2


@pytest.mark.once
def test_monitor_must_be_a_figure(tmp_path):
    model = make_model()
    run = Run(tmp_path, {}, lambda: {"score": 1.0}, monitor="accuracy")
    with pytest.raises(
        ValueError, match="`monitor` must be one of .*'score'.*Received: 'accuracy'"
    ):
        fit(model, 1, [run])


@pytest.mark.once
def test_a_figure_that_is_not_a_number_is_never_best(tmp_path):
    model = make_model()
    scores = iter([float("nan"), 0.3, float("nan")])
    run = Run(tmp_path, {}, lambda: {"score": next(scores)}, monitor="score")
    fit(model, 3, [run])
    assert run.best_epoch == 1
    assert [row["score"] for row in rows_of(tmp_path)] == ["nan", "0.3", "nan"]
    again = Run(tmp_path, {}, dict, monitor="score")
    assert again.resume(model) == 3 and again.best_epoch == 1


@pytest.mark.once
def test_a_directory_without_a_run(tmp_path):
    model = make_model()
    run = make_run(tmp_path / "new" / "run", model)
    assert run.resume(model) == 0 and run.best_epoch is None
    assert not (tmp_path / "new").exists()
