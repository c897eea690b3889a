"""The recipe direct_optimization: its tables, the rewards, and F1."""

import json

import numpy as np
import pytest
import tyro
from recipes.commands import load

pytestmark = pytest.mark.once

TINY = ("--epochs", 1, "--rounds", 1, "--seeds", 0, "--hidden-size", 32, "--batch-size", 8)


@pytest.fixture(scope="module")
def recipe():
    return load("direct_optimization")


def main(recipe, *arguments):
    recipe.main(tyro.cli(recipe.Config, args=[*map(str, arguments)]))


def cells(path):
    return json.loads((path / "results.json").read_text(encoding="utf-8"))["cells"]


def test_the_classifier_s_table(recipe, tmp_path, capsys):
    """Every method goes on from the same weights."""
    command = [*TINY, "--samples", 2, "--limit", 40, "--output", tmp_path]
    main(recipe, *command)
    assert "zeroth_order, seed 0: macro F1, %, before" in capsys.readouterr().out
    found = cells(tmp_path / "classifier")
    assert [cell["options"]["method"] for cell in found] == list(recipe.CLASSIFIERS)
    assert len({cell["figures"]["before"] for cell in found}) == 1
    assert all(0 <= cell["figures"]["after"] <= 1 for cell in found)


@pytest.mark.eager
@pytest.mark.parametrize("task, method", [("math", "reward"), ("questions", "crossentropy")])
def test_writing(recipe, tmp_path, capsys, task, method):
    main(
        recipe,
        *(*TINY, "--optimize", task, "--methods", method, "--num-hidden-layers", 1, "--limit", 16),
        *("--evaluate-samples", 2, "--prompts", 2, "--texts", 2, "--max-target", 6),
        *("--output", tmp_path),
    )
    assert ("reward: " in capsys.readouterr().out) == (method == "reward")
    assert set(cells(tmp_path / task)[0]["figures"]) == {"before", "after"}


def test_rewards(recipe):
    problem = {"question": "小林有126个气球，小龙的是他的4倍，小龙有多少个？", "answer": "504"}
    problem["equation"] = "126*4"
    reward = lambda text: recipe.Problems.reward(None, problem, text)  # noqa: E731
    (question,), written = recipe.Problems.texts(None, problem)
    assert "126" not in question and reward(written) == 1
    assert reward(written.replace("*", "+")) == 0 == reward("") == reward(written[0] * 2)
    asked = {"question": "谁写了红楼梦？"}
    assert recipe.Questions.reward(None, asked, "谁写了红楼梦？") == 1


def test_macro_f1(recipe):
    labels, classes = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert recipe.macro_f1(labels, classes) == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert recipe.macro_f1(labels, classes, 0.1) == pytest.approx((2 / 3 + 0.4 / (0.2 + 1.2)) / 2)
