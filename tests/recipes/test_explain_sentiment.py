"""The recipe explain_sentiment: the table, the page, what is deleted; clear errors."""

import importlib.util
import json

import numpy as np
import pytest
import tyro
from recipes.commands import ROOT, head, load
from tiny_checkpoint import make_tiny_checkpoint

pytestmark = [
    pytest.mark.once,
    # of the picture, where no font has the characters
    pytest.mark.filterwarnings("ignore:No picture was drawn:UserWarning"),
]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    tiny = make_tiny_checkpoint(folder, num_hidden_layers=1)
    for name, count in (("train", 12), ("valid", 6)):
        head(ROOT / "data" / f"reviews_{name}.tsv", folder / f"{name}.tsv", count)
    return [
        *("--config-path", tiny.config_path, "--checkpoint-path", tiny.checkpoint_path),
        *("--dict-path", tiny.dict_path, "--maxlen", 32, "--batch-size", 4, "--epochs", 1),
        *("--labelled", 8, "--explained", 5, "--steps", 4, "--shown", 2),
        *("--train", folder / "train.tsv", "--valid", folder / "valid.tsv"),
    ]


@pytest.fixture(scope="module")
def recipe():
    return load("explain_sentiment")


def config_of(recipe, *arguments):
    return tyro.cli(recipe.Config, args=[*map(str, arguments)])


@pytest.mark.eager
def test_the_table_the_page_and_the_curves(arguments, recipe, tmp_path, capsys):
    config = config_of(recipe, *arguments, "--output", tmp_path)
    recipe.main(config)
    output = capsys.readouterr().out
    assert "8 of 12 reviews to train, 5 to explain" in output
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    figures = {cell["options"]["method"]: cell["figures"] for cell in cells}
    assert [*figures] == [*recipe.METHODS]
    assert figures["integrated"]["error"] < 1e-3 < 1e3 * figures["demo"]["error"]
    assert "error" not in figures["random"] and "sign" not in figures["gradient_norm"]
    assert all(0 <= found["top"] <= 1 and 0 < found["left"] < 1 for found in figures.values())
    page = (tmp_path / "attributions.html").read_text(encoding="utf-8")
    assert page.count("<section>") == 2 and page.count("the model says") == 2
    assert (tmp_path / "deletion.png").stat().st_size > 1000
    assert (tmp_path / "table.png").stat().st_size > 1000
    recipe.main(config)
    assert "seed 0:" not in capsys.readouterr().out


@pytest.mark.eager
def test_what_is_deleted_are_the_highest_tokens(arguments, recipe, tmp_path, monkeypatch):
    config = config_of(
        recipe, *arguments, "--output", tmp_path, "--baseline", "mask", "--steps", 16
    )
    train, reviews = recipe.load_data(config)
    subject = recipe.Explained(config, train, reviews, 0)
    seen = []
    monkeypatch.setattr(subject, "goodness", lambda rows: seen.extend(rows) or np.zeros(len(rows)))
    scores = [np.arange(len(row[0]) - 2.0) for row in subject.rows]
    curve = subject.deletion(scores, most=2)
    np.testing.assert_allclose(curve, 0.5)
    mask, size = subject.tokenizer.token_to_id("[MASK]"), len(subject.rows)
    for deleted in range(3):
        for i, (ids, _) in enumerate(subject.rows):
            expected = [*ids]
            for place in range(deleted):
                expected[-2 - place] = mask
            assert seen[deleted * size + i][0] == expected
    # the classifier is read again, not trained again
    monkeypatch.setattr(recipe.Explained, "_train", None)
    again = recipe.Explained(config, train, reviews, 0)
    for x, y in zip(again.model.get_weights(), subject.model.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)
    shares, error = subject.scores("integrated")
    assert error < 1e-3 and [len(row) for row in shares] == [len(r[0]) - 2 for r in subject.rows]


def test_known_words(recipe):
    mapping = [[0], [1], [2], [], [3, 4]]
    assert recipe.known_tokens("很不错xy", mapping, ["不错x"]).tolist() == [
        False,
        True,
        True,
        False,
        True,
    ]
    path = ROOT / "data" / "make_reviews.py"
    spec = importlib.util.spec_from_file_location("make_reviews", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    ends = [end.removesuffix("。") for end in made.GOOD_ENDS + made.BAD_ENDS if end]
    assert {*made.GOOD, *made.BAD, *ends} == set(recipe.WORDS)


def test_what_cannot_be_is_refused(arguments, recipe, tmp_path):
    for more, message in (
        (["--labelled", 13], "`labelled` must be at most 12. Received: 13"),
        (["--methods", "nothing"], "`methods` must be among"),
        (["--baseline", "one"], "`baseline` must be among"),
        (["--steps", 0], "`steps` must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            recipe.main(config_of(recipe, *arguments, "--output", tmp_path, *more))
