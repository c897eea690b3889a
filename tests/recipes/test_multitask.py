"""The recipe multitask: labels, the table, resumed cell by cell, angles, clear errors."""

import json

import numpy as np
import pytest
import tyro
from recipes.commands import ROOT, head, load
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras import datasets

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def recipe():
    return load("multitask")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multitask")
    tiny = make_tiny_checkpoint(folder, num_hidden_layers=2)
    for name in ("train", "valid"):
        head(ROOT / "data" / f"reviews_{name}.tsv", folder / f"{name}.tsv", 24)
    return [
        *("--config-path", tiny.config_path, "--checkpoint-path", tiny.checkpoint_path),
        *("--dict-path", tiny.dict_path, "--maxlen", 16, "--batch-size", 12, "--epochs", 1),
        *("--train", folder / "train.tsv", "--valid", folder / "valid.tsv"),
    ]


def main(recipe, *arguments):
    recipe.main(tyro.cli(recipe.Config, args=[*map(str, arguments)]))


@pytest.mark.eager
def test_the_table_and_its_angles(recipe, arguments, tmp_path, capsys):
    methods = ("alone", "mixed")
    command = [*arguments, "--methods", *methods, "--output", tmp_path]
    main(recipe, *command)
    output = capsys.readouterr().out
    assert "24 training reviews, 24 held out" in output and "\n| mixed | " in output
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    assert [set(cell["figures"]) for cell in cells] == [{"sentiment"}, set(recipe.FIGURES)]
    assert all(-1 <= cell["figures"]["conflicting"] <= 1 for cell in cells[1:])
    for method in methods[1:]:
        assert (tmp_path / f"angles_{method}.png").stat().st_size > 1000
    assert not (tmp_path / "angles_alone.png").exists()
    main(recipe, *command)
    assert "seed 0" not in capsys.readouterr().out  # measured before
    with pytest.raises(ValueError, match="holds results with `epochs` = 1"):
        main(recipe, *command, "--epochs", 2)


def test_labels_of_the_sample_data(recipe):
    """Every review has two or three remarks; half of them set the two annotators against each
    other, and strength tells both."""
    for name in ("train", "valid"):
        samples = datasets.load_sentiment(ROOT / "data" / f"reviews_{name}.tsv")
        found = [recipe.labels_of(text, int(label)) for text, label in samples]
        assert {abs(labels["strength"]) for labels in found} == {2.0, 3.0}
        for labels in found:
            assert (labels["strength"] > 0) == (labels["sentiment"] == 1)
            differ = labels["lenient"] != labels["strict"]
            assert differ == (abs(labels["strength"]) == 2)
        assert 0.4 < np.mean([labels["lenient"] != labels["strict"] for labels in found]) < 0.6


def test_prior_losses_are_those_of_constants(recipe):
    reviews = ((1, 1), (2, 0), (3, 1), (3, 0))
    samples = [("", recipe.labels_of("，".join("好" * n), label)) for n, label in reviews]
    losses = recipe.prior_losses(samples)
    share = np.mean([labels["sentiment"] for _, labels in samples])
    assert losses[0] == pytest.approx(-share * np.log(share) - (1 - share) * np.log(1 - share))
    assert losses[1] == pytest.approx(np.var([labels["strength"] for _, labels in samples]))


def test_figures(recipe):
    reviews = ((1, 1), (3, 0), (3, 1))
    samples = [("", recipe.labels_of("，".join("好" * n), label)) for n, label in reviews]
    truth = {name: np.array([labels[name] for _, labels in samples]) for name in recipe.TASKS}
    scores = np.stack([truth["sentiment"] - 0.5, truth["strength"], truth["strict"] - 0.5], 1)
    found = recipe.measures(samples, scores)
    agreement = np.mean(truth["lenient"] == truth["strict"])
    expected = {"sentiment": 1, "strength": 1, "strict": 1, "lenient": agreement}
    assert found == pytest.approx(expected)


def test_errors(recipe, arguments, tmp_path):
    with pytest.raises(ValueError, match="`methods` must be among.*'magic'"):
        main(recipe, "--methods", "magic")
    with pytest.raises(ValueError, match="`num_hidden_layers` must be at least 1. Received: 0"):
        main(recipe, "--num-hidden-layers", 0)
    (tmp_path / "one.tsv").write_text("好，坏，大。\t1\n上，下，左。\t1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="`train` must have different labels of sentiment"):
        main(recipe, *arguments, "--train", tmp_path / "one.tsv", "--output", tmp_path)
