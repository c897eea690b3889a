"""The recipe ape210k: trains, resumes after Ctrl-C, solves and predicts."""

import json
import random

import numpy as np
import pytest
import tyro
from recipes.commands import ROOT, head, interrupt_process_after, load, run, weights

SMALL = (
    "--hidden-size 32 --num-hidden-layers 1 --maxlen 96 --max-target 24 --epochs 2 "
    "--batch-size 16 --evaluate-samples 8 --beams 1"
).split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("problems")
    paths = {
        name: head(ROOT / "data" / f"math_problems_{name}.jsonl", folder / f"{name}.jsonl", lines)
        for name, lines in (("train", 64), ("valid", 8))
    }
    return ["--train", paths["train"], "--valid", paths["valid"]]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, run("ape210k", *SMALL, *data, "--output", folder)


@pytest.fixture(scope="module")
def recipe():
    return load("ape210k")


def test_training_writes_its_directory(trained):
    folder, output = trained
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "best.weights.h5",
        "config.json",
        "curves.png",
        "history.csv",
        "state-0002.random.json",
        "state-0002.weights.h5",
        "vocab.txt",
    }
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 32
    assert len((folder / "history.csv").read_text().splitlines()) == 3
    assert "beam 1: valid_accuracy" in output
    assert "✓" in output or "✗" in output


def test_ctrl_c_and_the_same_command_give_the_undisturbed_run(trained, data, tmp_path):
    folder, _ = trained
    command = (*SMALL, *data, "--output", tmp_path)
    output = interrupt_process_after("Epoch 2/2", "ape210k", *command)
    assert "the same command continues" in output
    assert (tmp_path / "state-0001.weights.h5").exists()
    assert "1 of 2 epochs done" in run("ape210k", *command)
    assert (tmp_path / "history.csv").read_text() == (folder / "history.csv").read_text()
    expected = weights(folder / "state-0002.weights.h5")
    found = weights(tmp_path / "state-0002.weights.h5")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_other_options_are_refused(trained, data, recipe):
    command = [*map(str, (*SMALL, *data, "--output", trained[0], "--seed", 5))]
    with pytest.raises(ValueError, match="holds a run with `seed` = 0"):
        recipe.main(tyro.cli(recipe.Config, args=command))


def test_solve_and_predict(trained, tmp_path):
    questions = tmp_path / "questions.jsonl"
    rows = ["一共有3个苹果，吃了1个，还剩几个？", "1+1等于多少？"]
    lines = [json.dumps({"original_text": row}, ensure_ascii=False) for row in rows]
    questions.write_text("\n".join(lines) + "\n", encoding="utf-8")
    output = run(
        "ape210k", "--output", trained[0], "--solve", rows[0], "--predict", questions, "--beams", 1
    )
    assert rows[0] in output
    written = (tmp_path / "questions.predictions.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["original_text"] for line in written.splitlines()] == rows


def test_questions_are_normalized_as_those_of_training(recipe, tmp_path, monkeypatch, capsys):
    asked = []

    class Solver:
        def equations(self, questions, topk, progress=False):
            asked.append(list(questions))
            return ["99**99*99**99"] * len(questions)

    question = "每根绳子长2(1/3)米，12根一共长百分之几？"
    path = tmp_path / "questions.jsonl"
    path.write_text("\ufeff" + json.dumps({"original_text": question}) + "\n", encoding="utf-8")
    recipe.predict(Solver(), path, 1)
    recipe.solve(Solver(), question, 1)
    assert asked[0] == asked[1] == [question.replace("2(1/3)", "(2+1/3)")]
    written = (tmp_path / "questions.predictions.jsonl").read_text(encoding="utf-8")
    assert (
        json.loads(written)["original_text"] == question and "no answer" in capsys.readouterr().out
    )
    assert json.loads(written)["ans"] is None


def test_nothing_to_evaluate_is_said_before_training(recipe, tmp_path):
    with pytest.raises(ValueError, match="`beams` must be at least 1"):
        recipe.main(recipe.Config(beams=(), output=tmp_path))
    row = {"original_text": "x", "equation": "x=1", "ans": "2"}
    (tmp_path / "bad.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="must have usable samples.* Received: bad"):
        recipe.main(recipe.Config(valid=(tmp_path / "bad.jsonl",), output=tmp_path))


def test_broken_input_names_file_and_line(trained, recipe, tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"original_text": "x"}\n{"original_text": \n')
    with pytest.raises(recipe.datasets.DataError, match="broken.jsonl:2"):
        recipe.main(recipe.Config(output=trained[0], predict=broken))
    output = run("ape210k", "--output", trained[0], "--predict", broken, code=2)
    assert (
        output.startswith("error: ") and "broken.jsonl:2" in output and len(output.split("\n")) == 2
    )
    assert not list(tmp_path.glob("*predictions*"))
    with pytest.raises(FileNotFoundError, match="no trained weights"):
        recipe.main(recipe.Config(output=tmp_path / "new", solve="1+1"))


def test_samples_and_resampling(recipe, tmp_path):
    config = recipe.Config(output=tmp_path)
    problem = {"question": "有12个和3个", "equation": "12+3", "answer": "15"}
    tokenizer, kept = recipe.seq2seq.load_tokenizer(config, [problem["question"], "0123456789+"])
    assert kept is None
    encode = recipe.Encoder(tokenizer, config)
    (token_ids, segment_ids, positions), target = encode(problem)
    assert tokenizer.decode(target).replace(" ", "") == "12+3"
    assert [token_ids[p + 1] for p in positions] == target
    assert [segment_ids[p + 1] for p in positions] == [1] * len(target)
    other = recipe.resample(problem, random.Random(0))
    assert other != problem
    assert recipe.equations.equal(other["equation"], other["answer"])


def test_numbers_as_marks(recipe, tmp_path):
    config = recipe.Config(output=tmp_path, numbers="marks")
    problem = {"question": "有12个和3个", "equation": "12+3", "answer": "15"}
    tokenizer, _ = recipe.seq2seq.load_tokenizer(config, [recipe.MARKS, "有个和+"])
    encode = recipe.Encoder(tokenizer, config)
    (token_ids, _, positions), target = encode(problem)
    assert tokenizer.decode(token_ids[: positions[0]]).replace(" ", "") == "有①个和②个"
    source, numbers = encode.source(problem["question"])
    assert source == token_ids[: positions[0] + 1]
    assert encode.equation(target, numbers) == "12+3"
    assert encode.equation(target, numbers[:1]) == "①+②"
