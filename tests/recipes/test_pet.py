"""The recipe pet: the table, resumed cell by cell, and clear errors."""

import json
from collections import Counter

import pytest
import tyro
from recipes.commands import ROOT, head, interrupt_after, load, run
from tiny_checkpoint import make_tiny_checkpoint

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pet")
    tiny = make_tiny_checkpoint(folder)
    for name in ("train", "valid"):
        head(ROOT / "data" / f"reviews_{name}.tsv", folder / f"{name}.tsv", 24)
    return [
        *("--config-path", tiny.config_path, "--checkpoint-path", tiny.checkpoint_path),
        *("--dict-path", tiny.dict_path, "--train", folder / "train.tsv"),
        *("--valid", folder / "valid.tsv", "--labelled", 8, "--maxlen", 32, "--batch-size", 8),
        *("--patterns", "[MASK]好。{text}", "{text}[MASK]好。", "--epochs", 1, "--seeds", 0, 1),
    ]


@pytest.fixture(scope="module")
def recipe():
    return load("pet")


def test_all_regimes_interrupted_and_continued(arguments, recipe, tmp_path):
    output = interrupt_after("unsupervised", "pet", *arguments, "--output", tmp_path / "parts")
    assert "goes on with the next cell" in output
    before = json.loads((tmp_path / "parts" / "results.json").read_text(encoding="utf-8"))
    output = run("pet", *arguments, "--output", tmp_path / "parts")
    assert "zero-shot, " not in output.split("| zero-shot")[0]
    results = json.loads((tmp_path / "parts" / "results.json").read_text(encoding="utf-8"))
    measured = before["cells"]
    assert measured and results["cells"][: len(measured)] == measured
    counts = Counter(cell["options"]["regime"] for cell in results["cells"])
    assert counts == {
        "zero-shot": 2,
        "unsupervised": 4,
        "few-shot": 4,
        "semi-supervised": 4,
        "distilled": 2,
        "fine-tuning": 2,
    }
    assert (tmp_path / "parts" / "table.png").stat().st_size > 1000
    for regime in counts:
        assert f"\n| {regime} | " in output
    with pytest.raises(ValueError, match="holds results with `epochs` = 1"):
        main(recipe, *arguments, "--epochs", 2, "--output", tmp_path / "parts")


def main(recipe, *arguments):
    recipe.main(tyro.cli(recipe.Config, args=[*map(str, arguments)]))


def test_errors(arguments, tmp_path, recipe):
    with pytest.raises(ValueError, match="`labelled` must be at most 24"):
        main(recipe, *arguments, "--labelled", 1000, "--output", tmp_path)
    with pytest.raises(ValueError, match="the labels of `task` tnews, 100, 101"):
        main(recipe, *arguments, "--task", "tnews", "--output", tmp_path)
    with pytest.raises(ValueError, match="`unlabelled_epochs` must be at least 1. Received: 0"):
        main(recipe, *arguments, "--unlabelled-epochs", 0, "--output", tmp_path)
    with pytest.raises(ValueError, match="`methods` must be among.*'magic'"):
        recipe.main(recipe.Config(methods=("magic",)))


def test_texts_held_out_are_not_trained_on(recipe, tmp_path):
    (tmp_path / "train.tsv").write_text("好\t1\n坏\t0\n很好\t1\n", encoding="utf-8")
    (tmp_path / "valid.tsv").write_text("好\t1\n", encoding="utf-8")
    config = recipe.Config(
        train=(tmp_path / "train.tsv",), valid=(tmp_path / "valid.tsv",), labelled=1
    )
    data = recipe.Data(config, ["1", "0"])
    labelled, others = data.labelled(0)
    assert len(labelled) == 1 and {labelled[0][0], *others} == {"坏", "很好"}
    assert data.labelled(0) == (labelled, others)


def test_unlabelled_files(recipe, tmp_path):
    (tmp_path / "a.txt").write_text("好\n坏\tx\n", encoding="utf-8")
    (tmp_path / "b.json").write_text('{"sentence": "中"}\n', encoding="utf-8")
    for name in ("train", "valid"):
        (tmp_path / name).write_text(f"{name}\t1\n", encoding="utf-8")
    config = recipe.Config(
        train=(tmp_path / "train",),
        valid=(tmp_path / "valid",),
        unlabelled=(tmp_path / "a.txt", tmp_path / "b.json"),
        labelled=0,
    )
    assert recipe.Data(config, ["1", "0"]).labelled(0) == ([("train", "1")], ["好", "坏", "中"])


def test_all_texts_labelled(arguments, recipe, tmp_path, capsys):
    regimes = ("unsupervised", "few-shot", "semi-supervised", "distilled")
    arguments = [*arguments, "--seeds", 0, "--output", tmp_path, "--labelled", 0]
    main(recipe, *arguments, "--methods", *regimes)
    printed = capsys.readouterr().out
    assert printed.count("left out, because all texts are labelled") == 3
    assert "| few-shot | " in printed
