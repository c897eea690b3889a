"""The recipe multilabel: the table, resumed cell by cell, figures, thresholds, clear errors."""

import collections
import json
import subprocess
import sys

import numpy as np
import pytest
import tyro
from recipes.commands import ROOT, head, interrupt_after, load, run
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras.datasets.lines import DataError
from kexue_keras.losses import MultilabelCategoricalCrossentropy

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multilabel")
    tiny = make_tiny_checkpoint(folder, num_hidden_layers=1)
    for name in ("train", "valid"):
        head(ROOT / "data" / f"tagged_texts_{name}.jsonl", folder / f"{name}.jsonl", 24)
    return [
        *("--config-path", tiny.config_path, "--checkpoint-path", tiny.checkpoint_path),
        *("--dict-path", tiny.dict_path, "--train", folder / "train.jsonl"),
        *("--valid", folder / "valid.jsonl", "--maxlen", 16, "--batch-size", 8),
        *("--epochs", 1, "--positive-weights", 2, "--seeds", 0),
    ]


@pytest.fixture(scope="module")
def recipe():
    return load("multilabel")


def main(recipe, *arguments):
    recipe.main(tyro.cli(recipe.Config, args=[*map(str, arguments)]))


@pytest.mark.eager
def test_the_table_interrupted_and_continued(arguments, recipe, tmp_path, capsys):
    methods = ("softmax", "bce_tuned")
    command = [*arguments, "--methods", *methods, "--output", tmp_path]
    output = interrupt_after("softmax, seed 0:", "multilabel", *command)
    assert "goes on with the next cell" in output
    before = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    main(recipe, *command)
    output = capsys.readouterr().out
    assert output.count("/step") == 2 and "bce_tuned, seed 0: micro F1" in output
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    assert cells[:1] == before
    assert [list(cell["options"]) for cell in cells] == [
        ["method", "seed"],
        ["method", "weight", "seed"],
        ["method", "seed"],
    ]
    for method in methods:
        assert f"\n| {method} | " in output
        assert (tmp_path / f"{method}.weights.h5").stat().st_size > 1000
    assert (tmp_path / "table.png").stat().st_size > 1000
    about = json.loads((tmp_path / "bce_tuned.json").read_text(encoding="utf-8"))
    assert about["threshold"] == cells[1]["figures"]["threshold"]
    output = run("multilabel", "--output", tmp_path, "--tag", "早上喂了猫")
    assert [x.split(":")[0] for x in output.splitlines()] == [*methods]
    with pytest.raises(ValueError, match="holds results with `epochs` = 1"):
        main(recipe, *command, "--epochs", 2)


def test_training_learns_the_tags(arguments, recipe):
    options = [*arguments, "--epochs", 60, "--learning-rate", 1e-2, "--dropout", 0]
    config = tyro.cli(recipe.Config, args=[*map(str, options)])
    samples = [("一二", ("a",)), ("三四", ("b",)), ("一二三四", ("a", "b")), ("好好", ())]
    tagger = recipe.Tagger(config, ["a", "b"], 0)
    tagger.train(samples, MultilabelCategoricalCrossentropy())
    scores = tagger.scores(samples)
    np.testing.assert_array_equal(scores > 0, recipe.matrix(samples, ["a", "b"]))


def test_figures_against_loops(recipe):
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((30, 7)) < 0.2, rng.random((30, 7)) < 0.3
    truth[:, 6] = predicted[:, 6] = False
    truth[:, 5] = False
    single, total = [], np.zeros(3)
    for j in range(7):
        counts = np.zeros(3)
        for gold, found in zip(truth[:, j], predicted[:, j], strict=True):
            counts += (gold and found, gold and not found, found and not gold)
        total += counts
        hits, missed, wrong = counts
        single.append(2 * hits / (2 * hits + missed + wrong) if counts.any() else None)
    assert single[5] == 0 and single[6] is None
    hits, missed, wrong = total
    precision, recall = hits / (hits + wrong), hits / (hits + missed)
    assert recipe.measures(truth, predicted) == pytest.approx(
        {
            "micro_f1": 2 * precision * recall / (precision + recall),
            "macro_f1": np.mean(single[:6]),
            "rare_f1": np.mean(single[4:6]),
        }
    )
    nothing = np.zeros((2, 4), bool)
    assert recipe.measures(nothing | True, nothing)["macro_f1"] == 0.0


def test_weighted_loss_against_numpy(recipe):
    rng = np.random.default_rng(0)
    truth, scores = (rng.random((4, 6)) < 0.5).astype("float32"), rng.normal(size=(4, 6))
    p = 1 / (1 + np.exp(-scores))
    expected = -(3 * truth * np.log(p) + (1 - truth) * np.log(1 - p)).sum(1)
    loss = recipe.binary_crossentropy(3.0)(truth, recipe.keras.ops.cast(scores, "float32"))
    np.testing.assert_allclose(recipe.keras.ops.convert_to_numpy(loss), expected, rtol=1e-5)


def test_tags_are_ordered_by_training_texts(recipe):
    train = [("一", ("b", "a")), ("二", ("b",)), ("三", ("c", "a"))]
    tags = recipe.tags_of(train, [("四", ("d", "b"))])
    assert tags == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(
        recipe.matrix(train, tags), [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0]]
    )


def test_errors(arguments, recipe, tmp_path):
    bad, good = tmp_path / "bad.jsonl", '{"text": "好", "tags": ["a"]}\n'
    for line, message in (
        ("{", "bad.jsonl:2: must be JSON"),
        ('{"text": "好"}', "bad.jsonl:2: must have the field 'tags'"),
        ('{"text": "好", "tags": "a"}', "bad.jsonl:2: 'tags' must be a list"),
        ('{"text": "好", "tags": [1]}', r"bad.jsonl:2: 'tags' must be different strings.*\[1\]"),
        ('{"text": "好", "tags": ["a", "a"]}', "bad.jsonl:2: 'tags' must be different strings"),
    ):
        bad.write_text(good + line + "\n", encoding="utf-8")
        with pytest.raises(DataError, match=message):
            main(recipe, "--train", bad, "--output", tmp_path / "run")
    with pytest.raises(ValueError, match="`methods` must be among.*'magic'"):
        main(recipe, "--methods", "magic")
    with pytest.raises(ValueError, match="`development` must be between 0 and 1. Received: 1.0"):
        main(recipe, "--development", 1)
    with pytest.raises(ValueError, match="`positive_weights` must be at least 0. Received: "):
        main(recipe, *arguments, "--positive-weights")
    with pytest.raises(ValueError, match="`development` must leave texts of the .*: 0.001"):
        command = ["--methods", "bce_tuned", "--development", 0.001]
        main(recipe, *arguments, *command, "--output", tmp_path / "few")
    with pytest.raises(FileNotFoundError, match="has no trained weights"):
        main(recipe, *arguments, "--output", tmp_path / "none", "--tag", "好")


def test_the_script_makes_the_same_texts(recipe, tmp_path):
    script = ROOT / "data" / "make_tagged_texts.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    samples = {}
    for name, size in (("train", 1200), ("valid", 500)):
        path = ROOT / "data" / f"tagged_texts_{name}.jsonl"
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
        samples[name] = recipe.load_tagged(path)
        assert len({text for text, _ in samples[name]}) == size
        assert all(1 <= len(tags) <= 5 for _, tags in samples[name])
    counts = collections.Counter(tag for _, tags in samples["train"] for tag in tags)
    assert len(counts) == 60 and min(counts.values()) >= 8
    common = [count for _, count in counts.most_common(10)]
    assert sum(common) > 0.5 * counts.total() and common[0] > 20 * min(counts.values())
    assert {tag for _, tags in samples["valid"] for tag in tags} == set(counts)
    for rows in samples.values():
        assert not any(tag in text for text, tags in rows for tag in tags)
