"""The word problems in `data/`: reproducible, consistent, and new in validation."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kexue_keras.datasets import load_qa
from kexue_keras.equations import equal, evaluate, normalize, resample_numbers

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "data"
COUNTS = {"train": 3000, "valid": 300}


def read(split):
    path = FOLDER / f"math_problems_{split}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run_script(*arguments):
    return subprocess.run(
        [sys.executable, str(FOLDER / "make_math_problems.py"), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )


def numbers(text):
    return {int(number) for number in re.findall("[0-9]+", text)}


def test_script_makes_the_same_bytes(tmp_path):
    run_script("--seed", "0", "--out", str(tmp_path / "new"))
    for split in COUNTS:
        name = f"math_problems_{split}.jsonl"
        assert (tmp_path / "new" / name).read_bytes() == (FOLDER / name).read_bytes()
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_another_seed_makes_other_problems(tmp_path):
    run_script("--seed", "1", "--out", str(tmp_path), "--train", "100", "--valid", "50")
    lines = (tmp_path / "math_problems_train.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 100
    assert json.loads(lines[0])["original_text"] != read("train")[0]["original_text"]


def test_files_are_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("math_problems_*.jsonl")) < 1_500_000


@pytest.mark.parametrize("split", COUNTS)
def test_every_problem_is_consistent(split):
    rows = read(split)
    assert len(rows) == COUNTS[split]
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert list(row) == ["id", "original_text", "equation", "ans"]
        assert row["equation"].startswith("x=")
        question, equation, answer = normalize(row["original_text"], row["equation"], row["ans"])
        assert evaluate(equation) > 0
        assert equal(equation, answer)
        given = numbers(question) | {1, 2, 3, 14, 100}
        assert numbers(equation) <= given, "an equation uses a number that nothing gives"


def test_answers_have_all_forms():
    answers = [row["ans"] for row in read("train")]
    for form in (r"[0-9]+", r"[0-9]+\.[0-9]{1,2}", r"[0-9]+%", r"\([0-9]+/[0-9]+\)"):
        assert sum(re.fullmatch(form, answer) is not None for answer in answers) > 50


def test_validation_is_new():
    train, valid = read("train"), read("valid")
    seen = {row["original_text"] for row in train}
    assert len(seen) == len(train)
    assert len({row["original_text"] for row in valid}) == len(valid)
    assert seen.isdisjoint(row["original_text"] for row in valid)
    seen_numbers = set().union(*(numbers(text) for text in seen))
    for row in valid:
        assert numbers(row["original_text"]) - seen_numbers, row


def test_validation_needs_no_new_characters():
    characters = {split: set() for split in COUNTS}
    for split, found in characters.items():
        for row in read(split):
            found.update(row["original_text"] + row["equation"])
    assert characters["valid"] <= characters["train"]
    assert len(characters["train"]) < 500


def test_problems_are_short():
    for split in COUNTS:
        assert max(len(row["original_text"]) for row in read(split)) <= 60
        assert max(len(row["equation"]) for row in read(split)) <= 24


def test_most_problems_can_be_resampled():
    rng, changed = random.Random(0), 0
    problems = [
        normalize(row["original_text"], row["equation"], row["ans"]) for row in read("train")
    ]
    for problem in problems:
        new = resample_numbers(*problem, rng)
        if new:
            changed += 1
            assert evaluate(new[1]) == evaluate(new[2])
    assert changed > 0.9 * len(problems)


def test_reviews_are_made_again_and_share_no_thing(tmp_path):
    script = FOLDER / "make_reviews.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    texts = {}
    for split, size in (("train", 600), ("valid", 200)):
        name = f"reviews_{split}.tsv"
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
        rows = (FOLDER / name).read_text(encoding="utf-8").splitlines()
        texts[split] = {row.split("\t")[0] for row in rows}
        labels = [row.split("\t")[1] for row in rows]
        assert len(texts[split]) == size and 0.4 < labels.count("1") / size < 0.6
    assert not texts["train"] & texts["valid"]


def test_passages_are_made_again_and_hold_their_answers(tmp_path):
    script = FOLDER / "make_passages.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    questions = {}
    for split, size in (("train", 600), ("valid", 60)):
        path = FOLDER / f"passages_{split}.json"
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
        questions[split] = load_qa(path)
        assert len({q["passage"] for q in questions[split]}) == size
        assert all(q["answers"][0] in q["passage"] for q in questions[split])
    names = {split: {q["id"].split("-")[0] for q in rows} for split, rows in questions.items()}
    assert not names["train"] & names["valid"]
