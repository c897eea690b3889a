"""Comparisons: cells kept and found again, the table of methods."""

import json
import math

import pytest

from kexue_keras import files
from kexue_keras.experiments.comparison import Experiment, compare_methods
from kexue_keras.experiments.options import Table
from kexue_keras.experiments.tables import Figure

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


def test_a_table_of_methods_is_measured_once(tmp_path, capsys):
    config = Table(methods=("a", "b"), seeds=(0, 1), output=tmp_path)
    free, asked = ("output", "seeds", "methods"), []

    def measure(experiment, method, seed):
        asked.append((method, seed))
        return {"f1": 0.5 + seed / 10, "hidden": 1.0}

    for _ in range(2):
        compare_methods(config, free, measure, {"f1": Figure("F1, %")})
    assert asked == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [f"{m}, seed {s}: F1, % {50 + 10 * s}.00" for m in "ab" for s in (0, 1)]
    table = ["|  | F1, % |", "|---|---|", "| a | 55.00 ± 7.07 |", "| b | 55.00 ± 7.07 |"]
    assert lines[4:] == table * 2
    assert (tmp_path / "table.png").stat().st_size > 1000
    stored = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["config"]
    assert set(stored) == {"epochs", "batch_size", "learning_rate"}
    with pytest.raises(ValueError, match="holds results with `epochs` = 10"):
        compare_methods(Table(methods=("a",), epochs=3, output=tmp_path), free, measure, {})
