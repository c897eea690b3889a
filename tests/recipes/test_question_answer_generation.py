"""The recipe question_answer_generation: trains, writes pairs, goes on where it stopped."""

import collections
import gzip
import json
import math
import types

import numpy as np
import pytest
from keras import ops
from recipes.commands import ROOT, load, run
from tiny_checkpoint import make_tiny_checkpoint

pytestmark = pytest.mark.once

ARGUMENTS = (
    "--max-passage 40 --max-answer 6 --max-target 10 --maxlen 64 --epochs 1 --batch-size 8 "
    "--evaluate-samples 4 --pairs 3 --seed 1"
).split()


@pytest.fixture(scope="module")
def recipe():
    return load("question_answer_generation")


def few(name, folder, count):
    """The first passages of our sample."""
    document = json.loads((ROOT / "data" / f"passages_{name}.json").read_text(encoding="utf-8"))
    document["data"][0]["paragraphs"] = document["data"][0]["paragraphs"][:count]
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    tiny = make_tiny_checkpoint(folder, max_position_embeddings=64)
    output = run(
        "question_answer_generation",
        *("--config-path", tiny.config_path, "--checkpoint-path", tiny.checkpoint_path),
        *("--dict-path", tiny.dict_path, "--train", few("train", folder, 8)),
        *("--valid", few("valid", folder, 3), "--output", folder / "run", *ARGUMENTS),
    )
    return folder, output


def test_training_measures_and_writes(trained):
    folder, output = trained
    for figure in ("rouge_l", "bleu", "perplexity", "answers_in_passage", "distinct_pairs"):
        assert f"\nvalid_{figure} " in output
    header = (folder / "run" / "history.csv").read_text().splitlines()[0]
    assert "valid_rouge_l" in header


def test_a_file_of_passages_is_continued_where_it_stopped(trained, recipe, tmp_path):
    folder, _ = trained
    passages = tmp_path / "texts.txt"
    passages.write_text("\n".join(f"第{i}个人是我" for i in range(5)) + "\n", encoding="utf-8")
    for name in ("train", "valid"):
        (folder / f"{name}.json").unlink(missing_ok=True)  # only the weights are needed
    command = ("question_answer_generation", "--output", folder / "run", "--passages", passages)
    run(*command, "--passage", "他是人", "--pairs", 2)
    whole = (tmp_path / "texts.txt.pairs.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row["passage"] for row in rows] == passages.read_text(encoding="utf-8").split("\n")[:-1]
    assert all(len(row["pairs"]) <= 2 for row in rows) and any(row["pairs"] for row in rows)
    assert set(rows[0]["pairs"][0]) == {"answer", "question", "in_passage", "times"}


class Scribe:
    """Stands in for the recipe's writer."""

    def __init__(self, config, interrupt_at=None):
        self.encoder = types.SimpleNamespace(config=config)
        self.interrupt_at, self.asked = interrupt_at, []

    def pairs(self, texts, seed, topk):
        if len(self.asked) == self.interrupt_at:
            raise KeyboardInterrupt
        self.asked.append((seed, list(texts)))
        return [[Asked("a", f"q{seed}")] for _ in texts]


Asked = collections.namedtuple("Asked", "answer question")


def test_an_interrupted_file_of_passages(recipe, tmp_path):
    (tmp_path / "best.weights.h5").write_bytes(b"weights")
    config = recipe.Config(output=tmp_path, seed=3)
    path, target = tmp_path / "texts.jsonl.gz", tmp_path / "texts.jsonl.gz.pairs.jsonl"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"passage": f"第{i}个"}) + "\n" for i in range(5))
    straight = Scribe(config)
    recipe.write_pairs(straight, path, chunk=2)
    whole = target.read_text(encoding="utf-8")
    assert [json.loads(line)["passage"] for line in whole.splitlines()] == [
        f"第{i}个" for i in range(5)
    ]
    assert len({seed for seed, _ in straight.asked}) == 3
    target.unlink()
    with pytest.raises(KeyboardInterrupt):
        recipe.write_pairs(Scribe(config, interrupt_at=2), path, chunk=2)
    partial = tmp_path / "texts.jsonl.gz.pairs.partial"
    assert not target.exists() and len(partial.read_text(encoding="utf-8").splitlines()) == 5
    partial.write_bytes(partial.read_bytes() + '{"passage": "第'.encode()[:-1])
    before = partial.read_bytes()
    for other in (recipe.Config(output=tmp_path, seed=3, pairs=7), recipe.Config(output=tmp_path)):
        with pytest.raises(ValueError, match="pairs.partial was begun with other options"):
            recipe.write_pairs(Scribe(other), path, chunk=2)
    assert partial.read_bytes() == before
    second = Scribe(config)
    recipe.write_pairs(second, path, chunk=2)
    assert second.asked == straight.asked[2:] and not partial.exists()
    assert target.read_text(encoding="utf-8") == whole


def test_what_is_compared(recipe):
    assert recipe.seq2seq.plain("NBA 是 什么？ 10: 30") == "nba是什么？10:30"
    assert recipe.contains([1, 2, 3], [2, 3]) and not recipe.contains([1, 2, 3], [1, 3])


def test_long_passages_are_cut_at_sentence_ends(writer, monkeypatch):
    read = []
    passage = writer.encoder.passage
    monkeypatch.setattr(writer.encoder, "passage", lambda text: read.append(text) or passage(text))
    sentence = "一二三四五六七八九。"
    writer.pairs([sentence * 20, "三四。"])
    assert set(read) == {sentence * 12, sentence * 8, "三四。"}


def test_nothing_to_hold_out_or_no_answers(recipe, tmp_path):
    with pytest.raises(ValueError, match="`valid` or `hold_out` must hold samples out"):
        recipe.load_questions(recipe.Config(valid=()))
    with pytest.raises(ValueError, match="`max_passage` 3 leaves no piece"):
        recipe.load_questions(recipe.Config(max_passage=3))
    (tmp_path / "passages_valid.json").write_text("{}", encoding="utf-8")
    valid = (*recipe.Config().valid, tmp_path / "passages_valid.json")
    with pytest.raises(ValueError, match="different names. Received: passages_valid twice"):
        recipe.load_questions(recipe.Config(valid=valid))


def test_a_question_that_is_held_out_is_not_trained_on_with_another_passage(recipe, tmp_path):
    for name, passages in (("train", "甲乙"), ("valid", "丙")):
        rows = [{"passage": text, "answer": text} for text in passages]
        document = {"1": {"question": "谁？", "passages": rows}}
        if name == "train":
            document["2"] = {"question": "哪里？", "passages": rows}
        (tmp_path / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    config = recipe.Config(train=(tmp_path / "train.json",), valid=(tmp_path / "valid.json",))
    train, valid = recipe.load_questions(config)
    assert train == [("甲", "甲", "哪里？"), ("乙", "乙", "哪里？")]
    assert valid == {"valid": [("丙", "丙", "谁？")]}


def test_real_passages(recipe, shared):
    config = recipe.Config(train=(shared / "data/reading/cmrc2018_dev.json.xz",), hold_out=0.1)
    train, valid = recipe.load_questions(config)
    pieces = train + valid["held_out"]
    assert len(train) > 2500 and len(valid["held_out"]) > 200
    assert all(answer in piece and len(piece) <= 126 for piece, answer, _ in pieces)
    assert not {row[0] for row in train} & {row[0] for row in valid["held_out"]}


@pytest.fixture(scope="module")
def writer(recipe, tmp_path_factory):
    config = recipe.Config(
        config_path=None, checkpoint_path=None, dict_path=None, hidden_size=32, num_hidden_layers=1
    )
    config.output = tmp_path_factory.mktemp("new")
    tokenizer, _ = recipe.seq2seq.load_tokenizer(config, ["一二三四五六七八九十谁？。"])
    model = recipe.seq2seq.build_model(config, tokenizer)
    recipe.seq2seq.compile_for(model, config, 1)
    return recipe.Writer(model, recipe.Encoder(tokenizer, config))


def test_perplexity_is_that_of_the_questions_one_by_one(writer):
    samples = [("一二三。", "二", "谁？"), ("四五六七八。", "六七", "一二三谁？")]
    losses = []
    for sample in samples:
        (token_ids, segment_ids, positions), target = writer.encoder(sample)
        batch = [np.array([row]) for row in (token_ids, segment_ids, positions)]
        logits = ops.convert_to_numpy(writer.model(batch))[0].astype("float64")
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        rows = [logs[i, token] for i, token in enumerate(target)]
        losses += rows[len(sample[1]) + 1 :]
    assert writer.perplexity(samples) == pytest.approx(math.exp(-np.mean(losses)), rel=1e-4)


def test_pairs_are_different_and_come_again(writer):
    passages = ["一二三。", "四五六七八。"]
    pairs = writer.pairs(passages, seed=3)
    assert pairs == writer.pairs(passages, seed=3)
    assert all(len(set(found)) == len(found) for found in pairs) and any(pairs)
    assert all(sum(p.times for p in found) <= writer.encoder.config.pairs for found in pairs)


def test_how_often_an_answer_is_sampled_and_what_is_in_the_passage(recipe, writer, monkeypatch):
    known = writer.encoder.tokenizer.token_dict
    two, six, end, unknown = known["二"], known["六"], known["[SEP]"], known["[UNK]"]
    answers = [[two, end], [six, end], [two, end], [unknown, end], [two, two, end]]
    monkeypatch.setattr(writer.answers_of, "random_sample", lambda *_, **__: [answers])
    monkeypatch.setattr(writer, "questions", lambda passages, *_, **__: ["谁？"] * len(passages))
    (pairs,) = writer.pairs(["一二三岁。"])
    assert [(p.answer, p.in_passage, p.times) for p in pairs] == [
        *[("二", True, 2), ("六", False, 1), ("二二", False, 1)]
    ]
    figures = recipe.evaluate(writer, {"x": [("一二三岁。", "二", "谁？")]})
    assert figures["x_answers_in_passage"] == 0.5 and figures["x_distinct_pairs"] == 3


def test_equal_pairs_of_the_pieces_of_a_passage_are_one(writer, monkeypatch):
    known = writer.encoder.tokenizer.token_dict
    answers = [[known["二"], known["[SEP]"]]] * 2
    monkeypatch.setattr(writer.answers_of, "random_sample", lambda p, *_, **__: [answers] * len(p))
    monkeypatch.setattr(writer, "questions", lambda passages, *_, **__: ["谁？"] * len(passages))
    long = "一二三四五六七八九。" * 20  # two pieces
    ((whole,),), ((found,),) = (writer.pairs([text]) for text in ("二。", long))
    assert (whole.times, found.times) == (2, 4)
    assert found.in_passage and found[:2] == whole[:2] == ("二", "谁？")


def test_passages_of_json_lines_whatever_the_suffix(recipe, tmp_path):
    for name in ("a.json", "b.jsonl", "c.txt"):
        line = '{"passage": "一二三"}' if name != "c.txt" else "一二三"
        (tmp_path / name).write_text(line + "\n", encoding="utf-8")
        assert recipe.read_passages(tmp_path / name) == ["一二三"]


def test_a_question_depends_on_nothing_but_passage_and_answer(writer):
    passages, answers = ["一二三。", "四五六七八。", "一二三。"], ["二", "六七", "三"]
    together = writer.questions(passages, answers)
    alone = [writer.questions([p], [a])[0] for p, a in zip(passages, answers, strict=True)]
    assert together == alone
    end_id = writer.encoder.tokenizer.end_id
    ids = [writer.encoder.target(a, 6) for a in answers]
    assert writer.questions(passages, ids) == together
    assert writer.questions(passages, [row[: row.index(end_id)] for row in ids]) == together
