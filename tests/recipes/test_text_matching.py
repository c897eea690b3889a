"""The recipe text_matching: the table, resumed cell by cell, scores of pairs, clear errors."""

import dataclasses
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tyro
from recipes.commands import ROOT, head, interrupt_process_after, load, run
from scipy.stats import rankdata
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras.datasets.lines import DataError

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    tiny = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), num_hidden_layers=1)
    return [
        *("--config-path", tiny.config_path, "--checkpoint-path", tiny.checkpoint_path),
        *("--dict-path", tiny.dict_path, "--maxlen", 16, "--batch-size", 8, "--epochs", 1),
    ]


@pytest.fixture(scope="module")
def arguments(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("matching")
    for name in ("train", "valid"):
        head(ROOT / "data" / f"sentence_pairs_{name}.tsv", folder / f"{name}.tsv", 24)
    return [*model, "--train", folder / "train.tsv", "--valid", folder / "valid.tsv"]


@pytest.fixture(scope="module")
def recipe():
    return load("text_matching")


def main(recipe, *arguments):
    recipe.main(tyro.cli(recipe.Config, args=[*map(str, arguments)]))


@pytest.mark.eager
def test_the_table_interrupted_and_continued(arguments, recipe, tmp_path, capsys):
    methods = ("interact", "interact_cosent")
    command = [*arguments, "--methods", *methods, "--seeds", 4, "--output", tmp_path]
    output = interrupt_process_after("interact, seed 4:", "text_matching", *command)
    assert "goes on with the next cell" in output
    before = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    main(recipe, *command)
    output = capsys.readouterr().out
    assert output.count("/step") == 1 and "interact_cosent, seed 4: Spearman" in output
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    assert cells[: len(before)] == before and (len(before), len(cells)) == (1, 2)
    assert set(cells[0]["figures"]) == {"spearman", "accuracy", "accuracy_same"}
    for method in methods:
        assert f"\n| {method} | " in output
        assert (tmp_path / f"{method}.weights.h5").stat().st_size > 1000
    assert "best threshold of the other half" in output
    assert (tmp_path / "table.png").stat().st_size > 1000
    lines = run("text_matching", "--output", tmp_path, "--compare", "我很好", "你不好").splitlines()
    assert [line.split(":")[0] for line in lines] == [*methods]
    assert all("the same (threshold" in line for line in lines)
    with pytest.raises(ValueError, match="holds results with `epochs` = 1"):
        main(recipe, *command, "--epochs", 2)


@pytest.mark.eager
def test_saved_weights_give_the_scores_again(arguments, recipe, tmp_path, capsys):
    command = [*arguments, "--seeds", 0, "--methods", "cosent", "--output", tmp_path]
    main(recipe, *command)
    shown = next(line for line in capsys.readouterr().out.splitlines() if "score" in line)
    first, second = shown.split(" | ")[:2]
    main(recipe, *command, "--compare", first.split(" ", 3)[-1], second)
    score = capsys.readouterr().out.split()[1].rstrip(",")
    assert float(score) == pytest.approx(float(shown.split("score ")[1]), abs=6e-4)


@pytest.mark.eager
def test_graded_labels(model, recipe, tmp_path, capsys):
    rows = [f"{a}好\t{b}好\t{abs(i - j) / 2}\n" for i, a in enumerate("一二三四五")
            for j, b in enumerate("六七八九十")]  # fmt: skip
    (tmp_path / "pairs.tsv").write_text("".join(rows), encoding="utf-8")
    pairs = ["--train", tmp_path / "pairs.tsv", "--valid", "--hold-out", 0.4]
    methods = ["--methods", "sbert", "interact"]
    main(recipe, *model, *pairs, *methods, "--seeds", 3, "--output", tmp_path / "run")
    output = capsys.readouterr().out
    assert "15 training pairs, 10 held out" in output and "accuracy" not in output
    assert "|  | Spearman x 100 |" in output
    main(recipe, *model, "--output", tmp_path / "run", "--compare", "一好", "六好")
    assert "threshold" not in capsys.readouterr().out


def test_targets_of_the_methods(arguments, recipe):
    config = tyro.cli(recipe.Config, args=[*map(str, arguments)])
    grades = [0.0, 2.0, 3.6, 4.0]
    targets = {
        name: [recipe.Matcher(config, name, grades, 0).target(grade) for grade in grades]
        for name in recipe.METHODS
    }
    assert targets["cosent"] == targets["interact_cosent"] == grades
    assert targets["sbert"] == [0, 0, 1, 1]
    assert targets["interact"] == [0.0, 0.5, 0.9, 1.0]
    matcher = recipe.Matcher(config, "interact", [0.0, 1.0], 0)
    assert [matcher.target(label) for label in (0.0, 1.0)] == [0, 1]
    assert matcher.model.output.shape == (None, 2)


def test_sentences_that_are_read_together_are_one_segment(arguments, recipe):
    config = tyro.cli(recipe.Config, args=[*map(str, arguments)])
    matcher = recipe.Matcher(config, "interact", [0.0, 1.0], 0)
    ids, segments = matcher.encode("我很好", "你不好")
    assert ids == matcher.tokenizer.encode("我很好", "你不好")[0] and segments == [0] * len(ids)


def test_vector_scores_are_cosines_of_the_two_sentences(arguments, recipe):
    config = tyro.cli(recipe.Config, args=[*map(str, arguments)])
    for method in ("cosent", "sbert"):
        matcher = recipe.Matcher(config, method, [0.0, 1.0], 0)
        pairs = [("我很好", "你不好"), ("我很好", "我很好"), ("大小上下天地", "我很好")]
        scores = matcher.scores(pairs)
        np.testing.assert_allclose(scores[1], 1.0, atol=1e-5)
        np.testing.assert_allclose(
            matcher.scores([pair[::-1] for pair in pairs]), scores, atol=1e-5
        )
        assert scores[0] < 0.999 and np.abs(scores).max() < 1 + 1e-5


def test_sentence_bert_classifies_both_vectors_and_their_difference(arguments, recipe):
    config = tyro.cli(recipe.Config, args=[*map(str, arguments)])
    matcher = recipe.Matcher(config, "sbert", [0.0, 1.0], 0)
    label = matcher.model.get_layer("Label")
    size = label.kernel.shape[0] // 3
    assert tuple(label.kernel.shape) == (3 * size, 2)
    kernel = np.zeros((3 * size, 2), "float32")
    kernel[2 * size :, 1] = 1
    label.kernel.assign(kernel)
    label.bias.assign([0.5, 0.25])
    ids = [np.array([matcher.tokenizer.encode(text)[0]]) for text in ("我很好", "你不好")]
    same = keras.ops.convert_to_numpy(matcher.model([ids[0], ids[0]]))[0]
    np.testing.assert_allclose(same, [0.5, 0.25], atol=1e-6)
    different = keras.ops.convert_to_numpy(matcher.model(ids))[0]
    bert = [layer for layer in matcher.model.layers if isinstance(layer, keras.Model)][0]
    u, v = (keras.ops.convert_to_numpy(bert([x, np.zeros_like(x)]))[0, 0] for x in ids)
    np.testing.assert_allclose(different, [0.5, 0.25 + np.abs(u - v).sum()], rtol=1e-4)


def test_figures_against_numpy(recipe):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 41).tolist()
    scores = np.round(labels + rng.normal(size=41), 1)
    found = recipe.measures(labels, scores)
    x, y = (rankdata(values) - 21 for values in (labels, scores))
    assert found["spearman"] == pytest.approx((x @ y) / np.sqrt((x @ x) * (y @ y)))
    thresholds = [-9.0, *scores]
    best = max(np.mean((scores > t) == np.array(labels)) for t in thresholds)
    assert found["accuracy_same"] == pytest.approx(best)
    assert 0.5 < found["accuracy"] <= best
    assert set(recipe.measures([0, 1, 2], [0.1, 0.3, 0.2])) == {"spearman"}


def test_the_threshold_never_sees_the_pairs_it_is_applied_to(recipe):
    halves = recipe.datasets.split(range(8), (0.5, 0.5))
    labels, scores = np.zeros(8, int), np.zeros(8)
    for offset, half in zip((0.0, 10.0), halves, strict=True):
        labels[half], scores[half] = (0, 0, 1, 1), offset + np.array([0.0, 1.0, 2.0, 3.0])
    # each half is separable by itself, but the other's threshold is useless for it
    found = recipe.measures(labels, scores)
    assert found["accuracy"] == 0.5 and found["accuracy_same"] > 0.5


def test_held_out_pairs_are_not_trained_on(recipe, tmp_path):
    (tmp_path / "train.tsv").write_text("好\t坏\t0\n大\t小\t1\n上\t下\t0\n", encoding="utf-8")
    (tmp_path / "valid.tsv").write_text("坏\t好\t0\n天\t地\t1\n", encoding="utf-8")
    files = {"train": (tmp_path / "train.tsv",), "valid": (tmp_path / "valid.tsv",)}
    train, valid = recipe.load_data(recipe.Config(**files))
    assert train == [("大", "小", 1.0), ("上", "下", 0.0)] and len(valid) == 2
    path = ROOT / "data" / "sentence_pairs_train.tsv"
    config = recipe.Config(train=(path,), valid=(), hold_out=0.3)
    train, valid = recipe.load_data(config)
    assert (train, valid) == recipe.load_data(config)
    assert abs(len(valid) - 300) < 20 and len(train) + len(valid) <= 1000
    assert not {pair[:2] for pair in train} & {pair[:2] for pair in valid}
    fewer, _ = recipe.load_data(dataclasses.replace(config, limit=50))
    assert len(fewer) == 50 and set(fewer) <= set(train)


def test_errors(arguments, recipe, tmp_path):
    bad = tmp_path / "bad.tsv"
    for text, message in (
        ("好\t坏\t0\n好\t坏\n", r"bad.tsv:2: must have 3 columns"),
        ("好\t坏\t0\n好\t坏\tno\n", r"bad.tsv:2: the score must be a number. Received: 'no'"),
    ):
        bad.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            main(recipe, "--train", bad, "--output", tmp_path / "run")
    bad.write_text("好\t坏\t1\n好\t大\t1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="`train` must have different labels. Received: 2 pairs"):
        main(recipe, "--train", bad, "--output", tmp_path / "run")
    with pytest.raises(ValueError, match="`hold_out` must be from 0 to below 1. Received: 1.5"):
        main(recipe, *arguments, "--hold-out", 1.5)
    with pytest.raises(ValueError, match="`epochs` must be at least 1. Received: 0"):
        main(recipe, *arguments, "--epochs", 0)
    with pytest.raises(ValueError, match="`methods` must be among.*'magic'"):
        main(recipe, "--methods", "magic")
    with pytest.raises(FileNotFoundError, match="has no trained weights"):
        main(recipe, "--output", tmp_path / "none", "--compare", "好", "坏")


def test_the_script_makes_the_same_pairs_and_holds_words_out(tmp_path):
    script = ROOT / "data" / "make_sentence_pairs.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    module = load_script(script)
    texts = {}
    for name, size in (("train", 1000), ("valid", 200)):
        path = ROOT / "data" / f"sentence_pairs_{name}.tsv"
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        assert len({tuple(row) for row in rows}) == size
        assert 0.45 < sum(row[2] == "1" for row in rows) / size < 0.55
        texts[name] = "\n".join(row[0] + row[1] for row in rows)
    assert all(word in texts["valid"] for word in module.VALID_SERVICES)
    assert not any(word in texts["train"] for word in module.VALID_SERVICES)
    assert not any(word in texts["valid"] for word in module.TRAIN_SERVICES)


def load_script(path):
    sys.path.insert(0, str(path.parent))
    try:
        return __import__(path.stem)
    finally:
        sys.path.remove(str(path.parent))
