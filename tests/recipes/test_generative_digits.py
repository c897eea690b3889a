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
        *("--train", folder / "train", "--valid", folder / "valid", "--epochs", 1),
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
    methods = ("data", "vae_without_kl", "cvae", "entropic")
    command = [*arguments, "--methods", *methods, "--output", tmp_path]
    main(recipe, *command)
    output = capsys.readouterr().out
    assert "70 training digits, 20 held out" in output and "\n| cvae | " in output
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    figures = {cell["options"]["method"]: cell["figures"] for cell in cells}
    assert set(figures) == set(methods)
    assert {"neighbour", "mmd", "precision", "recall", "distance"} == set(figures["data"])
    of_codes = {"code", "error"}
    assert not of_codes & set(figures["data"]) and of_codes <= set(figures["entropic"])
    assert "wanted" in figures["cvae"] and "wanted" not in figures["vae_without_kl"]
    assert all(np.isfinite(list(found.values())).all() for found in figures.values())
    for name in ("samples", "ellipses", "table", "curves_cvae", "curves_entropic"):
        assert (tmp_path / f"{name}.png").stat().st_size > 3000
    (tmp_path / "samples.png").unlink()
    main(recipe, *command)
    assert "seed 0" not in capsys.readouterr().out  # measured before
    assert (tmp_path / "samples.png").exists()
    with pytest.raises(ValueError, match="holds results with `epochs` = 1"):
        main(recipe, *command, "--epochs", 2)


@pytest.mark.eager
def test_gans_beside_centroids(recipe, arguments, tmp_path, capsys):
    methods = ["centroids", "mean", *recipe.GANS]
    main(recipe, *arguments, "--methods", *methods, "--critic-steps", 1, "--output", tmp_path)
    assert "\n| zero_centred | " in capsys.readouterr().out
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    figures = {cell["options"]["method"]: cell["figures"] for cell in cells}
    assert list(figures) == methods
    for name in recipe.GANS:
        assert set(figures[name]) == set(recipe.FIGURES) - {"code", "error", "wanted"}
        assert np.isfinite(list(figures[name].values())).all()
        lines = json.loads((tmp_path / f"distances_{name}.json").read_text(encoding="utf-8"))
        assert [len(lines[kind]) for kind in ("exact", "estimated")] == [1, 1]
        assert figures[name]["ratio"] == pytest.approx(lines["estimated"][0] / lines["exact"][0])
    assert figures["c_transform"]["static"] <= 1
    for name in ("samples", "distances"):
        assert (tmp_path / f"{name}.png").stat().st_size > 3000
    assert not (tmp_path / "ellipses.png").exists()  # of autoencoders only


def test_centroids_and_the_mean(recipe):
    train, held_out = recipe.load_data(recipe.Config())
    mean = recipe.FIT["mean"](recipe.Config(), train, held_out, 0).samples
    np.testing.assert_allclose(mean, np.tile(train[0].mean(0), (len(held_out[0]), 1)), atol=1e-5)
    found = recipe.show_centroids(recipe.Config(batch_size=5), train, held_out, 0).samples
    assert found.shape == held_out[0].shape and len(np.unique(found, axis=0)) == 5


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
    with pytest.raises(ValueError, match="`train` and `valid` must both be files or"):
        main(recipe, *arguments, "--measure-on", "test", "--output", tmp_path)
    with pytest.raises(ValueError, match="`train` and `valid` must both be files or"):
        main(recipe, *arguments[:2], "--output", tmp_path)
