"""The recipe length_extrapolation: rotary attention, masks, texts, the table resumed, errors."""

import json
import random

import numpy as np
import pytest
import tyro
from keras import ops
from recipes.commands import interrupt_after, load

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def recipe():
    return load("length_extrapolation")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("texts"), random.Random(0)
    for name, lines in (("train", 30), ("test", 20)):
        texts = ["天地人" * rng.randrange(6, 10) + "山水" * rng.randrange(3) for _ in range(lines)]
        texts = [f"{i}号{text}" for i, text in enumerate(texts)]
        (folder / f"{name}.txt").write_text("\n".join(texts), encoding="utf-8")
    return [
        *("--train", folder / "train.txt", "--valid", folder / "test.txt"),
        *("--train-length", 8, "--lengths", 8, 32, "--hidden-size", 32, "--epochs", 1),
        *("--num-hidden-layers", 1, "--batch-size", 8),
    ]


def configure(recipe, *arguments):
    return tyro.cli(recipe.Config, args=[*map(str, arguments)])


def model_of(recipe, arguments, scale, weights=None):
    config = configure(recipe, *arguments)
    model = recipe.build_model(config, 20, scale)
    rng = np.random.default_rng(0)
    model.set_weights(weights or [rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.eager
def test_the_table_interrupted_and_continued(arguments, recipe, tmp_path, capsys):
    wanted = [*arguments, "--output", tmp_path]
    output = interrupt_after("sqrt_dim, length 32, seed 0", "length_extrapolation", *wanted)
    assert "goes on with the next cell" in output
    before = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    recipe.main(configure(recipe, *wanted))
    output = capsys.readouterr().out
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    assert cells[: len(before)] == before and len(cells) == 3 * 2
    assert "sqrt_dim, length 8, seed 0" not in output
    by_name = {tuple(cell["options"].values()): cell["figures"]["accuracy"] for cell in cells}
    assert all(0 <= share <= 1 for share in by_name.values())
    same = by_name["sqrt_dim", 8, 0], by_name["entropy_invariant", 8, 0]
    assert same[0] == pytest.approx(same[1], abs=0.02)
    for scale in recipe.METHODS:
        assert f"\n| {scale} | " in output
    assert (tmp_path / "table.png").stat().st_size > 1000
    assert not list(tmp_path.glob("temporary-*"))
    with pytest.raises(ValueError, match="holds results with `epochs` = 1"):
        recipe.main(configure(recipe, *wanted, "--epochs", 2))


def test_the_order_of_the_tokens_matters(recipe, arguments):
    model = model_of(recipe, arguments, "sqrt_dim")
    ids, positions = np.array([[5, 6, 7, 8, 3, 9]]), np.array([[4]])
    swapped = np.array([[6, 5, 7, 8, 3, 9]])
    a, b = (ops.convert_to_numpy(model([x, positions])) for x in (ids, swapped))
    assert np.abs(a - b).max() > 1e-3


@pytest.mark.parametrize("scale", ["sqrt_dim", "entropy_invariant", "log_512"])
def test_padding_does_not_matter(recipe, arguments, scale):
    model = model_of(recipe, arguments, scale)
    ids = np.random.default_rng(1).integers(4, 20, (3, 11))
    positions = np.array([[1, 5, 10]] * 3)
    plain = model([ids, positions])
    padded = model([np.pad(ids, ((0, 0), (0, 9))), np.pad(positions, ((0, 0), (0, 2)))])
    np.testing.assert_allclose(
        ops.convert_to_numpy(padded)[:, :3], ops.convert_to_numpy(plain), atol=1e-4
    )


def test_the_scales_are_the_same_at_their_length_only(recipe, arguments):
    plain = model_of(recipe, arguments, "sqrt_dim")
    scaled = model_of(recipe, arguments, "entropy_invariant", plain.get_weights())
    for length in (8, 30):
        ids = np.random.default_rng(1).integers(4, 20, (2, length))
        inputs = [ids, np.array([[1, 2], [3, 4]])]
        a, b = (ops.convert_to_numpy(model(inputs)) for model in (plain, scaled))
        assert np.allclose(a, b, atol=1e-4) == (length == 8)


def test_every_masked_token_is_asked_for_once_at_every_length(recipe):
    masked = np.random.default_rng(0).integers(4, 9, 48)
    positions = [0, 3, 15, 16, 17, 40]
    originals = [4, 5, 6, 7, 4, 5]
    test, asked = recipe.Test(masked.tolist(), positions, originals), []

    class Model:
        def predict_on_batch(self, inputs):
            rows, places = inputs
            asked.append((rows, places))
            return np.eye(9)[np.full(places.shape, 4)]

    for length, tokens in ((4, 8), (16, 16), (48, 1)):
        assert recipe.accuracy(Model(), test, length, tokens) == pytest.approx(2 / 6)
        rows = np.concatenate([rows for rows, _ in asked])
        assert rows.shape == (48 // length, length) and rows.ravel().tolist() == masked.tolist()
        asked.clear()


def test_the_masks_are_the_same_for_all_scales_and_seeds(recipe, arguments):
    first = recipe.Data(configure(recipe, *arguments))
    again = recipe.Data(configure(recipe, *arguments, "--methods", "log_512", "--seeds", 7))
    assert first.test == again.test and first.train == again.train
    share = len(first.test.positions) / len(first.test.masked)
    assert 0.1 < share < 0.2 and len(first.test.masked) % 32 == 0
    assert all(original >= 4 for original in first.test.originals)


def test_no_text_stands_inside_one_of_the_other_part(recipe, tmp_path):
    passage = "天地玄黄宇宙洪荒日月盈昃辰宿列张"
    rows = {
        "train": [passage + "寒来暑往", "云腾致雨"],
        "test": [passage, 4 * passage[::-1] + "云腾致雨"],
    }
    for name, texts in rows.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(texts), encoding="utf-8")
    arguments = ["--train", tmp_path / "train.txt", "--valid", tmp_path / "test.txt"]
    sizes = ["--train-length", 4, "--lengths", 64, "--min-characters", 2]
    data = recipe.Data(configure(recipe, *arguments, *sizes))
    known = set(passage + "寒来暑往")
    assert set(data.tokens[4:]) == known and len(data.test.masked) == 64


def test_weights_of_another_configuration_are_not_used(recipe, arguments, tmp_path):
    data = recipe.Data(configure(recipe, *arguments))
    for epochs in (1, 2):
        wanted = [*arguments, "--epochs", epochs, "--output", tmp_path]
        model = recipe.train(configure(recipe, *wanted), data, "sqrt_dim", 0)
        steps = epochs * (len(data.train) // 8)
        assert int(model.optimizer.iterations) == steps
    again = recipe.train(configure(recipe, *wanted), data, "sqrt_dim", 0)
    assert getattr(again, "optimizer", None) is None
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_files_of_their_own_some_texts_are_held_out(recipe, arguments):
    wanted = [*arguments, "--valid", "--hold-out", 0.1, "--lengths", 8]
    data = recipe.Data(configure(recipe, *wanted))
    assert len(data.test.masked) >= 3 * 16 and data.train
    assert data.test == recipe.Data(configure(recipe, *wanted)).test


def test_errors(recipe, arguments):
    with pytest.raises(ValueError, match="`methods` must be among.*'magic'"):
        recipe.main(recipe.Config(methods=("magic",)))
    with pytest.raises(ValueError, match=r"`lengths` must divide the last.*\(48, 64\)"):
        recipe.main(recipe.Config(lengths=(48, 64)))
    with pytest.raises(
        ValueError, match="`train` must have 16 characters, `valid` and `test_tokens` 4096"
    ):
        recipe.Data(configure(recipe, *arguments, "--lengths", 8, 4096))
