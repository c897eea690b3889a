"""Tables of experiments: cells kept and found again, means and spreads, text and picture."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from kexue_keras import files
from kexue_keras.experiments import comparison as experiments
from kexue_keras.experiments.comparison import (
    Experiment,
    draw_table,
    markdown_table,
    mean_and_spread,
)

pytestmark = pytest.mark.once


def counted(value, calls):
    def function():
        calls.append(value)
        return {"score": value}

    return function


def test_a_cell_is_measured_once_and_found_by_the_next_program(tmp_path):
    path, calls = tmp_path / "new" / "results.json", []
    for _ in range(2):
        experiment = Experiment(path, {"epochs": 3, "files": ("a", "b")})
        for seed in (0, 1):
            found = experiment.measure(counted(seed / 2, calls), method="m", seed=seed)
            assert found == {"score": seed / 2}
    assert calls == [0.0, 0.5]
    assert json.loads(path.read_text(encoding="utf-8"))["config"]["files"] == ["a", "b"]
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_a_cell_that_fails_leaves_the_others(tmp_path):
    path = tmp_path / "results.json"
    experiment = Experiment(path, {})
    experiment.keep({"score": 1}, seed=0)

    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiment.measure(stopped, seed=1)
    again = Experiment(path, {})
    assert again.get(seed=0) == {"score": 1.0} and again.get(seed=1) is None


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    experiment = Experiment(path, {})
    experiment.keep({"score": 1}, seed=0)
    before = path.read_bytes()

    def full(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        experiment.keep({"score": 2}, seed=1)
    assert path.read_bytes() == before and experiment.get(seed=1) is None


def test_options_name_a_cell_exactly(tmp_path):
    experiment = Experiment(tmp_path / "results.json", {})
    experiment.keep({"score": 0.1}, method="m", seed=0)
    experiment.keep({"score": 0.2}, method="m", pattern="p", seed=0)
    experiment.keep({"score": 0.3}, method="m", seed=0)
    assert experiment.get(method="m", seed=0) == {"score": 0.3}
    assert experiment.get(seed=0, pattern="p", method="m") == {"score": 0.2}
    assert experiment.get(method="m") is None
    found = experiment.get(method="m", seed=0)
    found["score"] = 9.0
    assert experiment.get(method="m", seed=0) == {"score": 0.3}


def test_best(tmp_path):
    experiment = Experiment(tmp_path / "results.json", {})
    assert experiment.best("score", method="m") is None
    for seed, value in enumerate((0.2, 0.4, math.nan, 0.3)):
        experiment.keep({"score": value}, method="m", seed=seed)
    experiment.keep({"score": 0.9}, method="other", seed=0)
    experiment.keep({"else": 1}, method="m", seed=9)
    assert experiment.best("score", method="m") == 0.4
    assert experiment.best("score", method="m", seed=2) is None
    again = Experiment(experiment.path, {})
    assert math.isnan(again.get(method="m", seed=2)["score"]) and again.best("score") == 0.9


def test_other_options_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / "results.json"
    Experiment(path, {"epochs": 3}).keep({"score": 1}, seed=0)
    with pytest.raises(ValueError, match="holds results with `epochs` = 3.*Received: 4"):
        Experiment(path, {"epochs": 4})
    with pytest.raises(ValueError, match="with `new` = None.*Received: 1"):
        Experiment(path, {"epochs": 3, "new": 1})
    for text in ("{", "[]", "{}", '{"config": {}, "cells": [{}]}', '{"config": {}, "cells": [[]]}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="results.json does not hold an experiment"):
            Experiment(path, {})
    with pytest.raises(ValueError, match=r"option `seed` must be .* Received: \(0, 1\)"):
        Experiment(tmp_path / "other.json", {}).keep({}, seed=(0, 1))


@pytest.mark.parametrize("count", [2, 3, 7])
def test_mean_and_spread_against_numpy(count):
    values = np.random.default_rng(count).normal(size=count).tolist()
    expected = f"{10 * np.mean(values):.3f} ± {10 * np.std(values, ddof=1):.3f}"
    assert mean_and_spread(values, scale=10, digits=3) == expected


def test_table_as_text():
    table = markdown_table(["", "a", "b"], [["x", "1", "2"], ["y", "", "3"]])
    assert table.splitlines() == ["|  | a | b |", "|---|---|---|", "| x | 1 | 2 |", "| y |  | 3 |"]
    with pytest.raises(ValueError, match=r"`rows` must have 2 columns. Received: \['x'\]"):
        markdown_table(["", "a"], [["x"]])


def test_table_as_picture(tmp_path):
    rows = {"m": [[50.0, 60.0], []], "n": [[40.0], [30.0, 20.0, 10.0]]}
    draw_table(tmp_path / "new" / "table.png", ["a", "b"], rows, "accuracy, %")
    assert (tmp_path / "new" / "table.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_summary_of_cells(tmp_path):
    cells = {
        "m": [{"a": 0.5, "b": 0.1}, {"a": 0.6, "b": 0.3}],
        "n": [{"a": 0.25}],
    }
    titles = {"b": "second", "a": "first", "c": "third"}
    table = experiments.summarize(cells, titles, tmp_path / "table.png")
    a, b = np.array([50, 60]), np.array([10, 30])
    assert table.splitlines() == [
        "|  | second | first |",
        "|---|---|---|",
        f"| m | {b.mean():.2f} ± {b.std(ddof=1):.2f} | {a.mean():.2f} ± {a.std(ddof=1):.2f} |",
        "| n |  | 25.00 |",
    ]
    assert (tmp_path / "table.png").stat().st_size > 1000


def test_weights_and_what_they_are_of(tmp_path):
    class Model:
        def save_weights(self, path):
            path.write_text("weights", encoding="utf-8")

    path = tmp_path / "new" / "m.weights.h5"
    experiments.save_weights(path, Model(), {"labels": ["很", 1]})
    assert path.read_text(encoding="utf-8") == "weights"
    text = (tmp_path / "new" / "m.json").read_text(encoding="utf-8")
    assert json.loads(text) == experiments.about(path) == {"labels": ["很", 1]}
    assert len(list(path.parent.iterdir())) == 2

    class Interrupted:
        def save_weights(self, path):
            path.write_text("wei", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiments.save_weights(path, Interrupted(), {})
    assert path.read_text(encoding="utf-8") == "weights" and experiments.about(path) is None


def test_a_figure_that_is_not_a_number_is_shown(tmp_path):
    figures = [{"f1": 0.5}, {"f1": float("nan")}]
    table = experiments.summarize({"new": figures}, {"f1": "F1"}, tmp_path / "table.png")
    assert table.endswith("| new | nan ± nan |")


def test_options_that_are_too_small():
    config = SimpleNamespace(epochs=1, seeds=(0, 1), none=())
    experiments.check_least(config, epochs=1, seeds=0)
    for name, least in (("epochs", 2), ("seeds", 1), ("none", 0)):
        with pytest.raises(ValueError, match=f"`{name}` must be at least {least}. Received: "):
            experiments.check_least(config, **{name: least})
    with pytest.raises(ValueError, match="`epochs` must be at least 1. Received: nan"):
        experiments.check_least(SimpleNamespace(epochs=float("nan")), epochs=1)
