"""The recipe generative_digits: the split, the table, resumed cell by cell, pictures, errors."""

import json

import numpy as np
import pytest
import tyro
from recipes.commands import load

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def recipe():
    return load("generative_digits")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory, recipe):
    """Files of few digits, and small networks."""
    folder = tmp_path_factory.mktemp("digits")
    train, valid = recipe.load_data(recipe.Config())
    for name, (x, y), n in (("train", train, 70), ("valid", valid, 20)):
        rows = np.concatenate([16 * x[:n], y[:n, None]], axis=1).astype(int)
        lines = [",".join(map(str, row)) for row in rows]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [
        *("--train", folder / "train", "--valid", folder / "valid", "--epochs", 2),
        *("--batch-size", 32, "--hidden-size", 8, "--code-size", 3),
    ]


def main(recipe, *arguments):
    recipe.main(tyro.cli(recipe.Config, args=[*map(str, arguments)]))


def test_the_split_is_fixed_and_its_parts_have_nothing_in_common(recipe):
    train, valid = recipe.load_data(recipe.Config())
    again, test = recipe.load_data(recipe.Config(measure_on="test"))
    np.testing.assert_array_equal(train[0], again[0])
    sets = [{x.tobytes() for x in part[0]} for part in (train, valid, test)]
    assert [len(part) for part in sets] == [1024, 384, 389]
    assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]
    assert all(np.bincount(part[1]).min() > 20 for part in (train, valid, test))


@pytest.mark.eager
def test_the_table_and_its_pictures(recipe, arguments, tmp_path, capsys):
    command = [*arguments, "--output", tmp_path]
    main(recipe, *command)
    output = capsys.readouterr().out
    assert "70 training digits, 20 held out" in output and "\n| cvae | " in output
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    figures = {cell["options"]["method"]: cell["figures"] for cell in cells}
    assert set(figures) == {"data", "vae_without_kl", "vae", "cvae", "entropic"}
    assert set(figures["cvae"]) == set(recipe.FIGURES)
    assert set(figures["entropic"]) == set(recipe.FIGURES) - {"wanted"}
    assert set(figures["data"]) == {"neighbour", "mmd", "precision", "recall"}
    assert all(np.isfinite(list(found.values())).all() for found in figures.values())
    for name in ("samples", "ellipses", "table", "curves_vae", "curves_entropic"):
        assert (tmp_path / f"{name}.png").stat().st_size > 3000
    (tmp_path / "samples.png").unlink()
    main(recipe, *command)
    assert "seed 0" not in capsys.readouterr().out  # measured before
    assert (tmp_path / "samples.png").exists()
    with pytest.raises(ValueError, match="holds results with `epochs` = 2"):
        main(recipe, *command, "--epochs", 3)


def test_figures(recipe):
    x = np.random.default_rng(0).normal(size=(50, 4))
    found = recipe.figures_of_codes(x, x + 0.5, x)
    assert found["error"] == pytest.approx(4 * 0.25) and abs(found["code"]) < 0.02
    assert recipe.figures_of_codes(3 * x, x, x)["code"] > 0.1
    train = np.eye(3), np.array([4, 5, 6])
    nearest = recipe.nearest_label(train, np.array([[0.1, 0.9, 0], [0, 0, 2.0]]))
    np.testing.assert_array_equal(nearest, [5, 6])


def test_errors(recipe, arguments, tmp_path):
    with pytest.raises(ValueError, match="`methods` must be among.*'magic'"):
        main(recipe, "--methods", "magic")
    with pytest.raises(ValueError, match="`kl_weight` must be at least 0. Received: -1"):
        main(recipe, "--kl-weight", -1)
    with pytest.raises(ValueError, match="`train` and `valid` must both be given or neither"):
        main(recipe, *arguments, "--measure-on", "test", "--output", tmp_path)
    with pytest.raises(ValueError, match="`train` and `valid` must both be given or neither"):
        main(recipe, *arguments[:2], "--output", tmp_path)
