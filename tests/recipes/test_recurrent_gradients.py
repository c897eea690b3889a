"""The recipe recurrent_gradients: sequences, both tables resumed, pictures, penalties, errors."""

import json

import keras
import numpy as np
import pytest
import tyro
from recipes.commands import load

pytestmark = pytest.mark.once

SMALL = "--lengths 3 5 --samples 12 --batch-size 6 --epochs 1 --units 3 --digit-epochs 1".split()


@pytest.fixture(scope="module")
def recipe():
    return load("recurrent_gradients")


def main(recipe, *arguments):
    recipe.main(tyro.cli(recipe.Config, args=[*map(str, arguments)]))


def test_the_first_symbol_is_marked_and_is_the_class(recipe):
    x, y = recipe.make_sequences(200, 7, np.random.default_rng(0))
    assert x.shape == (200, 7, 5) and set(y) == {0, 1, 2, 3}
    np.testing.assert_array_equal(x[:, 0, :4].argmax(-1), y)
    np.testing.assert_array_equal(x[..., :4].sum(-1), 1)
    assert (x[:, 0, 4] == 1).all() and not x[:, 1:, 4].any()
    other, _ = recipe.make_sequences(200, 7, np.random.default_rng(1))
    assert (other != x).any()


@pytest.mark.eager
def test_both_tables_their_pictures_and_a_second_run(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recipe, "PENALTIES", ("none",))
    command = [*SMALL, "--methods", "output_reset", "--output", tmp_path]
    main(recipe, *command)
    output = capsys.readouterr().out
    for row in ("output_reset", "none"):
        assert output.count(f"\n| {row} | ") == 1 and f"{row}, seed 0: " in output
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    assert len(cells) == 2
    for cell in cells:
        assert np.isfinite(list(cell["figures"].values())).all()
        if "penalty" in cell["options"]:
            assert set(cell["figures"]) == set(recipe.DIGITS)
            assert cell["figures"]["violated"] == 0
    norms = json.loads((tmp_path / "output_reset-0.json").read_text(encoding="utf-8"))
    assert len(norms["before"]) == len(norms["after"]) == 5
    assert norms["before"][0] == pytest.approx(1)
    sides = json.loads((tmp_path / "digits-none-0.json").read_text(encoding="utf-8"))
    assert sides["epochs"] == [0, 1] and np.shape(sides["left"]) == (2, 200)
    for name in ("norms.png", "bound.png"):
        assert (tmp_path / name).stat().st_size > 10000
    main(recipe, *command)
    assert "seed 0" not in capsys.readouterr().out  # measured before
    with pytest.raises(ValueError, match="holds results with `units` = 3"):
        main(recipe, *command, "--units", 4)


@pytest.mark.parametrize("by", ["inputs", "parameters"])
def test_penalties_equal_numpy(recipe, by):
    """Of one dense layer under a softmax: (p - y) W^T by x, and x^T (p - y) by W."""
    rng = np.random.default_rng(0)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    x, y = rng.normal(size=(6, 4)).astype("float32"), rng.integers(0, 3, 6)
    model = recipe.Penalized(network, by, 0.6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss)
    found = model.fit(x, y, batch_size=6, verbose=0).history["loss"][0]
    w, b = network.get_weights()
    p = np.exp(x @ w + b)
    p /= p.sum(-1, keepdims=True)
    error = p - np.eye(3)[y]
    squares = {
        "inputs": np.mean(np.sum((error @ w.T) ** 2, -1)),
        "parameters": np.sum((x.T @ error / 6) ** 2) + np.sum(error.mean(0) ** 2),
    }
    expected = -np.mean(np.log(p[range(6), y])) + 0.3 * squares[by]
    assert found == pytest.approx(expected, rel=1e-4)


def test_digits(recipe):
    x, y = recipe.load_digits()
    assert x.shape == (1797, 64) and (x.min(), x.max()) == (-1, 1) and set(y) == set(range(10))


def test_errors(recipe):
    with pytest.raises(ValueError, match="`methods` must be among.*'magic'"):
        main(recipe, "--methods", "magic")
    with pytest.raises(ValueError, match="`lengths` must be at least 2"):
        main(recipe, "--lengths", 1)
