"""The recipe chinese_chess: trains, resumes, measures, plays in the terminal; its sample games."""

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recipes.commands import ROOT, head, interrupt_after, load, run
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras import datasets
from kexue_keras.xiangqi import Board
from kexue_keras.xiangqi.move_scorer import CHARACTERS, SQUARES, MoveScorer

pytestmark = pytest.mark.once

SMALL = (
    "--hidden-size 32 --num-hidden-layers 1 --maxlen 64 --epochs 2 --batch-size 4 "
    "--evaluate-games 3 --matches 1 --max-plies 12"
).split()


@pytest.fixture(scope="module")
def recipe():
    return load("chinese_chess")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("games")
    paths = {
        name: head(ROOT / "data" / f"xiangqi_games_{name}.tsv", folder / f"{name}.tsv", lines)
        for name, lines in (("train", 16), ("valid", 4))
    }
    return ["--train", paths["train"], "--valid", paths["valid"]]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, run("chinese_chess", *SMALL, *data, "--output", folder)


def test_training_writes_its_directory(trained):
    folder, output = trained
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "best.weights.h5",
        "config.json",
        "curves.png",
        "history.csv",
        "matches.json",
        "plies.csv",
        "plies.png",
        "state-0002.random.json",
        "state-0002.weights.h5",
    }
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 32
    assert "epochs 1 to 1: games up to 32 characters" in output
    assert "epochs 2 to 2: games up to 64 characters" in output
    with open(folder / "plies.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["ply"]) for row in rows] == list(range(1, 17))
    assert all(row["games"] == "3" for row in rows)
    for name in ("first", "first_five", "greedy_legal"):
        assert all(0 <= float(row[name]) <= 1 for row in rows)
    assert "against the random player: " in output and "against the capture player: " in output
    assert "bits per ply: " in output
    matches = json.loads((folder / "matches.json").read_text())
    assert set(matches) == {"random", "capture"}
    for match in matches.values():
        assert match["wins"] + match["draws"] + match["losses"] == 1


def test_ctrl_c_and_the_same_command_give_the_undisturbed_run(trained, data, tmp_path):
    command = (*SMALL, *data, "--output", tmp_path)
    output = interrupt_after("epochs 2 to 2", "chinese_chess", *command)
    assert "the same command continues" in output
    assert "1 of 2 epochs done" in run("chinese_chess", *command)
    assert (tmp_path / "history.csv").read_text() == (trained[0] / "history.csv").read_text()
    assert (tmp_path / "plies.csv").read_text() == (trained[0] / "plies.csv").read_text()


def test_play_in_the_terminal(trained):
    typed = "h2h5x\nh2i4\n炮二平五\nundo\n炮九平五\nH2E2\n"
    output = run("chinese_chess", "--play", "--output", trained[0], typed=typed)
    assert "must be in ICCS, like 'h2e2'. Received: 'h2h5x'" in output
    assert "'h2i4' is not legal for red at ply 1" in output
    assert "'炮九平五' is not legal for red at ply 1" in output
    assert output.count("model: ") == 2 and " ms)" in output
    # the board at the start, after two refusals, a reply, the undo, a refusal, and a reply
    assert output.count("楚 河") == 7


def test_without_a_model(tmp_path, recipe):
    output = run("chinese_chess", "--play", "--output", tmp_path, code=2)
    assert "no trained weights; train first" in output
    with pytest.raises(ValueError, match="`config_path` and `dict_path` go together"):
        recipe.build_model(recipe.Config(config_path=tmp_path / "bert_config.json"))


def test_samples_follow_the_curriculum(recipe):
    config = recipe.Config(epochs=8)
    assert [recipe.divisor(config, epoch) for epoch in range(8)] == [8, 4, 2, 2, 1, 1, 1, 1]
    assert recipe.divisor(recipe.Config(epochs=1), 0) == 1
    assert recipe.divisor(recipe.Config(curriculum=False), 0) == 1
    moves = ["h2e2", "h9g7", "h0g2"]
    (token_ids, segment_ids), targets = recipe.encoder(64)(moves)
    game = CHARACTERS.encode(moves)
    assert [*token_ids, targets[-1]] == game and targets == game[1:]
    assert segment_ids == [0] * 12
    (token_ids, _), targets = recipe.encoder(8)(moves)
    assert len(token_ids) == len(targets) == 8 and targets == game[1:9]
    (token_ids, _), targets = recipe.encoder(4, SQUARES)(moves)
    assert [*token_ids, targets[-1]] == SQUARES.encode(moves)[:5]


def test_squares_as_tokens(recipe, data, tmp_path):
    output = run("chinese_chess", *SMALL, *data, "--tokens", "squares", "--output", tmp_path)
    assert "epochs 2 to 2: games up to 64 squares" in output
    with open(tmp_path / "plies.csv", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 32
    config = recipe.Config(output=tmp_path).as_trained()
    assert recipe.build_model(config).output_shape[-1] == 91


def test_held_out_games_are_not_trained_on(recipe, tmp_path):
    games = {"train": "1-0\th2e2\n*\th2e2 h9g7\n*\tb2e2\n", "valid": "0-1\th2e2\n*\tc3c4\n"}
    for name, text in {**games, "test": "1-0\tb2e2\n"}.items():
        (tmp_path / f"{name}.tsv").write_text(text, encoding="utf-8")
    paths = {name: (tmp_path / f"{name}.tsv",) for name in games}
    config = recipe.Config(**paths, evaluate_games=1)
    train, valid, test = recipe.load_games(config)
    assert (train, valid, test) == ([["h2e2", "h9g7"], ["b2e2"]], [["h2e2"]], [["h2e2"]])
    config = recipe.Config(**paths, evaluate_games=1, test=(tmp_path / "test.tsv",))
    train, valid, test = recipe.load_games(config)
    assert (train, valid, test) == ([["h2e2", "h9g7"]], [["h2e2"]], [["b2e2"]])


def test_a_pretrained_bert_keeps_the_twenty_tokens(recipe, tmp_path):
    tiny = make_tiny_checkpoint(tmp_path)
    dict_path = Path(tiny.dict_path)
    config = recipe.Config(
        config_path=Path(tiny.config_path),
        checkpoint_path=Path(tiny.checkpoint_path),
        dict_path=dict_path,
    )
    with pytest.raises(ValueError, match="vocab.txt has no token '0'"):
        recipe.build_model(config)
    tokens = dict_path.read_text(encoding="utf-8").splitlines()
    tokens[10:29] = reversed(CHARACTERS.symbols[1:])
    dict_path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    model = recipe.build_model(config)
    assert model.keep_tokens == [0, *range(28, 9, -1)]
    table = tiny.variables["bert/embeddings/word_embeddings"]
    found = np.array(model.get_layer("Embedding-Token").embeddings)
    np.testing.assert_array_equal(found, table[model.keep_tokens])
    assert MoveScorer(model).score([], ["h2e2"]).shape == (1,)


def test_sample_games_are_reproducible(tmp_path):
    script = ROOT / "data" / "make_xiangqi_games.py"
    subprocess.run(
        [sys.executable, script, "--train", "5", "--valid", "2", "--out", tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    for name in ("train", "valid"):
        made = (tmp_path / f"xiangqi_games_{name}.tsv").read_text()
        stored = (ROOT / "data" / f"xiangqi_games_{name}.tsv").read_text()
        assert stored.startswith(made) and len(made) > 100


def test_sample_games_follow_the_rules_and_are_small():
    paths = {name: ROOT / "data" / f"xiangqi_games_{name}.tsv" for name in ("train", "valid")}
    assert sum(path.stat().st_size for path in paths.values()) < 500_000
    games = {name: datasets.load_xiangqi(path) for name, path in paths.items()}
    assert len(games["train"]) >= 300
    assert not {tuple(m) for _, m in games["train"]} & {tuple(m) for _, m in games["valid"]}
    sample = random.Random(0).sample(games["train"], 100) + games["valid"]
    for result, moves in sample:
        board = Board()
        board.extend(moves)
        outcome = board.result()
        results = {"red": "1-0", "black": "0-1", None: "1/2-1/2"}
        assert result == ("*" if outcome is None else results[outcome.winner])
