"""The recipe kgclue: builds its tree, trains, asks; look-ahead; baseline."""

from types import SimpleNamespace

import numpy as np
import pytest
from recipes.commands import ROOT, head, load, run

from kexue_keras.decoding import PrefixTree
from kexue_keras.metrics.subsequences import longest_common_subsequence
from kexue_keras.tokenizers import Tokenizer

SMALL = (
    "--config-path None --checkpoint-path None --dict-path None "
    "--hidden-size 32 --num-hidden-layers 1 --maxlen 64 --max-target 24 --epochs 1 "
    "--batch-size 16 --evaluate-samples 8 --beams 2 --evaluate-batch-size 8"
).split()
SEP = 3


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
        tree = recipe.open_tree(config, recipe.Encoder(tokenizer, config))
        starts = {tokenizer.token_dict[letter] for letter in "甲乙"}
        assert set(tree.next_tokens(())) == starts
    assert len(list((tmp_path / "run").glob("tree-*.bin"))) == 2


def triples():
    text = (ROOT / "data" / "knowledge.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()]


def brute_force_gain(tree, question, prefix, token):
    def length(key):
        return longest_common_subsequence(question, key)

    return max(length(key) for key in tree.keys((*prefix, token))) - length(prefix)


def test_look_ahead_equals_brute_force(recipe):
    rng = np.random.default_rng(0)
    parts = [rng.integers(4, 12, rng.integers(1, 5)).tolist() for _ in range(60)]
    keys = [[9, SEP, *part, SEP, SEP] for part in parts]
    tree = PrefixTree(keys)
    question = rng.integers(4, 14, 9).tolist()
    look = recipe.LookAhead(tree, [2, *question, SEP], SEP)
    for prefix in {tuple(key[:n]) for key in keys for n in range(2, len(key))}:
        tokens = tree.next_tokens(prefix)
        p = rng.dirichlet(np.ones(len(tokens))) * 0.7
        found = look.rescore(prefix, tokens, np.log(p))
        gain = np.array([brute_force_gain(tree, question, prefix, t) for t in tokens.tolist()])
        expected = p ** (1 / (gain + 1)) if len(tokens) > 1 else p
        np.testing.assert_allclose(np.exp(found), expected / expected.sum() * p.sum(), rtol=1e-9)


def test_look_ahead_without_gain_or_before_the_subject_changes_nothing(recipe):
    tree = PrefixTree([[5, SEP, 6, SEP], [5, SEP, 7, SEP], [8, SEP]])
    logs = np.log([0.2, 0.3])
    look = recipe.LookAhead(tree, [2, 20, 21, SEP], SEP)
    np.testing.assert_allclose(look.rescore((5, SEP), np.array([6, 7]), logs), logs, rtol=1e-12)
    look = recipe.LookAhead(tree, [2, 7, SEP], SEP)
    np.testing.assert_array_equal(look.rescore((), np.array([5, 8]), logs), logs)
    changed = look.rescore((5, SEP), np.array([6, 7]), logs)
    assert changed[1] > logs[1] and changed[0] < logs[0]


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
