"""The recipe seq2seq_robustness: the table, replaced inputs, clear errors."""

import json

import numpy as np
import pytest
import tyro
from recipes.commands import ROOT, load
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras import training

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robustness")
    tiny = make_tiny_checkpoint(folder, num_hidden_layers=1)
    for name, count in (("train", 3), ("valid", 1)):
        path = ROOT / "data" / f"passages_{name}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["data"] = content["data"][:count]
        (folder / path.name).write_text(json.dumps(content), encoding="utf-8")
    return [
        *("--config-path", tiny.config_path, "--checkpoint-path", tiny.checkpoint_path),
        *("--dict-path", tiny.dict_path, "--batch-size", 2, "--epochs", 1, "--limit", 4),
        *("--max-passage", 18, "--max-answer", 5, "--max-target", 6, "--beams", 1),
        *("--train", folder / "passages_train.json", "--valid", folder / "passages_valid.json"),
    ]


@pytest.fixture(scope="module")
def recipe():
    return load("seq2seq_robustness")


def config_of(recipe, *arguments):
    return tyro.cli(recipe.Config, args=[*map(str, arguments)])


@pytest.mark.eager
def test_the_table(arguments, recipe, tmp_path, capsys):
    methods = ("tea_for_n",)
    command = (*arguments, "--evaluate-samples", 2, "--output", tmp_path, "--methods", *methods)
    recipe.main(config_of(recipe, *command))
    output = capsys.readouterr().out
    assert "4 training questions, 2 held out" in output
    assert all(f"\n| {method} | " in output for method in methods)
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    assert set(cells[0]["figures"]) == {"rouge_l_1", "bleu_1"}


def test_only_the_inputs_of_targets_are_replaced(arguments, recipe, monkeypatch):
    config = config_of(recipe, *arguments, "--replaced", 1.0)
    writer = recipe.Writer(config, "random_replacement")
    train, _ = recipe.load_questions(config)
    seen = []

    def fit(model, batches, rate, epochs):
        for batches.epoch in range(4):
            seen.extend(batches[i] for i in range(len(batches)))

    monkeypatch.setattr(recipe, "fit_to_zero_rate", fit)
    writer.train(train, seed=0)
    plain = {}
    for sample in train:
        (ids, segments, _), target = writer.encode(sample)
        plain[tuple(i for i, s in zip(ids, segments, strict=True) if not s), tuple(target)] = ids
    changed = 0
    for (ids, segments, _), targets in seen:
        for row, segment, target in zip(ids, segments, targets, strict=True):
            source = row[: segment.argmax()]
            original = plain[tuple(source.tolist()), tuple(target[target != 0].tolist())]
            changed += (row[: len(original)] != original).any()
    assert 0 < changed < len(seen) * config.batch_size


def test_the_strategies_of_the_methods(arguments, recipe):
    config = config_of(recipe, *arguments)
    kinds = {method: type(recipe.Writer(config, method).model) for method in recipe.METHODS}
    assert kinds["gradient_penalty"] is training.GradientPenalty
    assert kinds["tea_for_n"] is training.TeaForN
    assert kinds["teacher_forcing"] is kinds["random_replacement"]


def test_what_cannot_be_is_refused(arguments, recipe):
    for more, message in (
        (["--methods", "nothing"], "`methods` must be among"),
        (["--steps", 0], "`steps` must be at least 1"),
        (["--max-passage", 3], "`max_passage` must leave pieces that hold an answer"),
    ):
        with pytest.raises(ValueError, match=message):
            recipe.main(config_of(recipe, *arguments, *more))
    assert np.isfinite(recipe.Config().penalty)
