"""The recipe kgclue: builds its tree, trains, asks; baseline."""

from types import SimpleNamespace

import pytest
from recipes.commands import ROOT, head, load, run

from kexue_keras.tokenizers import Tokenizer

SMALL = (
    "--config-path None --checkpoint-path None --dict-path None "
    "--hidden-size 32 --num-hidden-layers 1 --maxlen 64 --max-target 24 --epochs 1 "
    "--batch-size 16 --evaluate-samples 8 --beams 2 --evaluate-batch-size 8"
).split()


@pytest.fixture(scope="module")
def recipe():
    return load("kgclue")


def test_the_command_trains_and_answers(tmp_path):
    train = head(ROOT / "data" / "knowledge_train.jsonl", tmp_path / "train.jsonl", 64)
    valid = head(ROOT / "data" / "knowledge_valid.jsonl", tmp_path / "valid.jsonl", 8)
    output = run("kgclue", *SMALL, "--train", train, "--valid", valid, "--output", tmp_path / "run")
    assert "baseline, valid: EM S 100.00%" in output
    assert "beam 2, valid: EM S" in output
    assert list((tmp_path / "run").glob("tree-*.bin"))
    facts = {tuple(t) for t in triples()}
    for path in (train, valid):
        path.unlink()  # the answers need the tree and the weights only
    answers = run(
        "kgclue", "--output", tmp_path / "run", "--ask", "雨烟这座山在哪里？", "--beams", 2
    )
    lines = [line.split(None, 1)[1].strip() for line in answers.splitlines() if " | " in line]
    assert lines and all(tuple(line.split(" | ")) in facts for line in lines)


def test_a_tree_is_of_one_vocabulary(recipe, tmp_path):
    (tmp_path / "knowledge.tsv").write_text("甲乙\t丙\t丙\n乙甲\t丙\t丙\n", encoding="utf-8")
    config = recipe.Config(knowledge=(tmp_path / "knowledge.tsv",), output=tmp_path / "run")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    for letters in ("甲乙丙", "丙甲乙", "甲乙丙"):
        tokenizer = Tokenizer({token: i for i, token in enumerate([*special, *letters])})
        tree = recipe.Encoder(tokenizer, config).tree()
        starts = {tokenizer.token_dict[letter] for letter in "甲乙"}
        assert set(tree.next_tokens(())) == starts
    assert len(list((tmp_path / "run").glob("tree-*.bin"))) == 2


def triples():
    text = (ROOT / "data" / "knowledge.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()]


def test_baseline_takes_the_longest_subject_and_nearest_relation(recipe, tmp_path):
    knowledge = tmp_path / "knowledge.tsv"
    knowledge.write_text(
        "明月\t高度\t1米\n明月山\t海拔高度\t2米\n明月山\t面积\t3亩\n", encoding="utf-8"
    )
    config = SimpleNamespace(knowledge=(knowledge,))
    gold = {"subject": "明月山", "predicate": "面积", "meaning": "", "object": "3亩"}
    table = recipe.baseline(config, [{"question": "明月山的面积多大？", **gold}])
    assert table["EM all"] == 1.0 and table["score"] == 1.0
    table = recipe.baseline(config, [{"question": "没有这个", **gold}])
    assert table["EM all"] == 0.0


def test_measures(recipe):
    gold = {"subject": "明月", "predicate": "位置", "meaning": "一座山", "object": "南湖"}
    table = recipe.measures(
        [gold] * 2, [("明月", "位置", "一座山", "南湖"), ("明月", "位置", "", "湖")]
    )
    assert table["EM S"] == 0.5 and table["EM P"] == 1.0
    assert table["F1 S"] == pytest.approx((1 + 2 * 2 / 9) / 2)
    assert table["score"] == pytest.approx((0.5 + (1 + 2 / 3) / 2) / 2)
    assert all(table[f"EM {n}"] <= table[f"F1 {n}"] for n in ("S", "P", "O", "all"))
