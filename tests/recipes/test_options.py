"""The same options mean the same in all recipes, and `--help` tells them all."""

import typing

import pytest
from recipes.commands import ROOT, load, run

RECIPES = sorted(p.stem for p in (ROOT / "recipes").glob("*.py") if "web" not in p.stem)

WITHOUT_FILES = {"recurrent_gradients"}  # their data is made, or inside a package


@pytest.fixture(scope="module")
def options():
    return {name: typing.get_type_hints(load(name).Config) for name in RECIPES}


def test_an_option_has_one_type_in_all_recipes(options):
    types = {}
    for recipe, found in options.items():
        for name, kind in found.items():
            assert types.setdefault(name, kind) == kind, (recipe, name)
    assert types["hold_out"] is float
    for name in ("epochs", "batch_size", "learning_rate", "output"):
        assert all(name in found for found in options.values()), name
    for name in ("train", "valid"):
        assert {recipe for recipe in RECIPES if name not in options[recipe]} == WITHOUT_FILES, name


def test_options_without_which_nothing_is_compared_or_measured(options):
    for recipe, found in options.items():
        assert ("seeds" in found) == ("methods" in found) != ("seed" in found), recipe
        # what writes texts has beams, answers a question, or samples texts
        writes = not {"solve", "ask", "beams", "texts"}.isdisjoint(found)
        assert writes == ("max_target" in found), recipe


@pytest.mark.parametrize("recipe", RECIPES)
def test_help_explains_every_option(recipe, options):
    printed = run(recipe, "--help")
    for name in options[recipe]:
        assert f"--{name.replace('_', '-')}" in printed
