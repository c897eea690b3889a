"""The recipe optimizers: descents on known functions, the table resumed, memory, pictures."""

import json

import numpy as np
import pytest
import tyro
from recipes.commands import ROOT, head, interrupt_after, load
from tiny_checkpoint import make_tiny_checkpoint

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def recipe():
    return load("optimizers")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimizers")
    tiny = make_tiny_checkpoint(folder, num_hidden_layers=1)
    for name in ("train", "valid"):
        head(ROOT / "data" / f"reviews_{name}.tsv", folder / f"{name}.tsv", 16)
    return [
        *("--config-path", tiny.config_path, "--checkpoint-path", tiny.checkpoint_path),
        *("--dict-path", tiny.dict_path, "--maxlen", 8, "--batch-size", 8, "--epochs", 1),
        *("--train", folder / "train.tsv", "--valid", folder / "valid.tsv"),
        *("--blocks", 1, "--function-steps", 0),
    ]


def configure(recipe, *arguments):
    return tyro.cli(recipe.Config, args=[*map(str, arguments)])


@pytest.mark.eager
def test_the_table_interrupted_and_continued(arguments, recipe, tmp_path, capsys):
    wanted = [*arguments, "--methods", "adafactor", "sgd_soft", "--output", tmp_path]
    wanted += ["--seeds", 0, 1]
    output = interrupt_after("adafactor, seed 0:", "optimizers", *wanted)
    assert "goes on with the next cell" in output
    before = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    recipe.main(configure(recipe, *wanted))
    output = capsys.readouterr().out
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    assert cells[: len(before)] == before and (len(before), len(cells)) == (1, 4)
    assert "16 training reviews, 16 held out" in output
    for method in ("adafactor", "sgd_soft"):
        assert output.count(f"\n| {method} | ") == 2  # memory and figures
        losses = json.loads((tmp_path / f"{method}-1.json").read_text(encoding="utf-8"))
        assert len(losses) == 2 and np.isfinite(losses).all()
    for name in ("table.png", "losses.png"):
        assert (tmp_path / name).stat().st_size > 1000
    with pytest.raises(ValueError, match="holds results with `gamma` = 1.0"):
        recipe.main(configure(recipe, *wanted, "--gamma", 2))


@pytest.mark.eager
def test_a_seed_gives_the_same_figures_after_any_other(arguments, recipe, tmp_path):
    config = configure(recipe, *arguments, "--methods", "sgd", "--output", tmp_path)
    reviews = [("好" * 4, 1), ("坏" * 4, 0)] * 8
    found = []
    for seeds in ((5,), (3, 5)):
        trainer = recipe.Trainer(config, reviews, reviews[:4])
        figures = [trainer.measure(None, "sgd", seed) for seed in seeds]
        found.append((figures[-1], (tmp_path / "sgd-5.json").read_text(encoding="utf-8")))
    assert found[0] == found[1]
    assert (tmp_path / "sgd-3.json").read_text(encoding="utf-8") != found[0][1]


@pytest.mark.parametrize("method", ["adam", "sgd_fast", "sgd_hard", "sgd_plain", "adaptive"])
def test_every_method_is_the_optimizer_that_it_says(recipe, method):
    config = recipe.Config(learning_rate=0.5, sgd_rate=0.01, gamma=3.0)
    optimizer = recipe.make_optimizer(config, method, 4)
    rates = {"adam": 0.5, "sgd_plain": 0.01, "adaptive": 0.01}
    assert float(optimizer.learning_rate) == pytest.approx(rates.get(method, 0.1))
    if method == "sgd_hard":
        assert (optimizer.gamma, optimizer.mode) == (3.0, "hard")
        assert optimizer.optimizer.momentum == 0.9


def test_descents(recipe, tmp_path, capsys):
    """Pictures and ends; what the articles say of two of the functions."""
    recipe.descend_all(recipe.Config(function_steps=3, output=tmp_path))
    output = capsys.readouterr().out
    runs = sum(len(optimizers) - 1 for optimizers in recipe.DESCENTS.values())
    assert len(output.splitlines()) == 2 + runs
    assert (tmp_path / "functions.png").stat().st_size > 10000
    make = recipe.MAKE
    diverged, _ = recipe.descend(recipe.quartic, [10.0], make["gradient descent"](0.1), 3)
    assert diverged[1] > 1e8
    values, path = recipe.descend(recipe.quartic, [10.0], make["soft clipping"](0.1), 20)
    assert (np.diff(values) < 0).all() and (np.abs(np.diff(path[:, 0])) < 0.1).all()
    for name in ("gradient descent", "exponentiated gradient"):
        _, path = recipe.descend(recipe.simplex, [0.02, 0.08, 0.9], make[name](0.01), 5)
        np.testing.assert_allclose(path.sum(-1), 1, rtol=1e-5)
        assert (path > 0).all()


def test_errors(recipe, arguments):
    with pytest.raises(ValueError, match="`methods` must be among.*'magic'"):
        recipe.main(recipe.Config(methods=("magic",)))
    with pytest.raises(ValueError, match="`blocks` must be at least 1. Received: 0"):
        recipe.main(configure(recipe, *arguments, "--blocks", 0))
