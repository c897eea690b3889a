"""The recipe few_shot_vat: the table, continued; which texts count for what; clear errors."""

import json

import numpy as np
import pytest
import tyro
from recipes.commands import ROOT, head, load
from tiny_checkpoint import make_tiny_checkpoint

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vat")
    tiny = make_tiny_checkpoint(folder, num_hidden_layers=1)
    for name, count in (("train", 24), ("valid", 8)):
        head(ROOT / "data" / f"reviews_{name}.tsv", folder / f"{name}.tsv", count)
    return [
        *("--config-path", tiny.config_path, "--checkpoint-path", tiny.checkpoint_path),
        *("--dict-path", tiny.dict_path, "--maxlen", 32, "--batch-size", 4, "--epochs", 1),
        *("--labelled", 8, "--train", folder / "train.tsv", "--valid", folder / "valid.tsv"),
    ]


@pytest.fixture(scope="module")
def recipe():
    return load("few_shot_vat")


def config_of(recipe, *arguments):
    return tyro.cli(recipe.Config, args=[*map(str, arguments)])


@pytest.mark.eager
def test_the_table_is_measured_once(arguments, recipe, tmp_path, capsys):
    config = config_of(recipe, *arguments, "--output", tmp_path)
    recipe.main(config)
    output = capsys.readouterr().out
    assert "24 training texts, 8 labelled; 8 held out" in output
    for method in recipe.METHODS:
        assert f"{method}, seed 0: right of 8, %" in output and f"\n| {method} | " in output
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    assert [cell["options"]["method"] for cell in cells] == [*recipe.METHODS]
    assert (tmp_path / "table.png").stat().st_size > 1000
    recipe.main(config)
    assert "seed 0:" not in capsys.readouterr().out


@pytest.mark.eager
def test_vat_sees_a_text_without_a_label_beside_each_with_one(arguments, recipe, monkeypatch):
    seen = []

    def fit(model, batches, rate, epochs):
        batches.epoch = 1
        seen.extend(batches[i] for i in range(len(batches)))

    monkeypatch.setattr(recipe, "fit_to_zero_rate", fit)
    classifier = recipe.Classifier(config_of(recipe, *arguments), "vat")
    labelled = [(f"好{i}", i % 2) for i in range(8)]
    classifier.train(labelled, ["不"], seed=1)
    weights = np.concatenate([weight for _, _, weight in seen])
    assert sorted(weights) == [0.0] * 8 + [2.0] * 8
    tokens = np.concatenate([inputs[0] for inputs, *_ in seen])
    without = tokens[weights == 0]
    expected = classifier.tokenizer.encode("不")[0]
    assert (without[:, : len(expected)] == expected).all()


def test_what_cannot_be_is_refused(arguments, recipe, tmp_path):
    for more, message in (
        (["--labelled", 25], "`labelled` must be from 2 to 24"),
        (["--methods", "nothing"], "`methods` must be among"),
        (["--epsilon", "-1"], "`epsilon` must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            recipe.main(config_of(recipe, *arguments, "--output", tmp_path, *more))
    (tmp_path / "x.tsv").write_text("很好\t2\n不好\t0\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"labels 0 and 1|must be 0 or 1"):
        recipe.main(config_of(recipe, *arguments, "--train", tmp_path / "x.tsv"))
