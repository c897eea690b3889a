"""Questions over a knowledge base: Seq2Seq whose beam search walks a prefix tree.

Task: read a question, name the subject S, the relation P and the meaning M of S; the tree's leaf
holds the objects. The decoder can only write what the knowledge base holds.
Data: `data/knowledge_*` and the small BERT in `data/small_zh` (made by this project); KgCLUE and
NLPCC 2016 load as they are, and a knowledge base is any TSV of `subject TAB relation TAB object`,
where the subject may be `S（M）`.
Published: 90.12 / 91.37 (mean of EM and F1 on valid / test_public) with RoFormer-Sim-FT.
Our results, with their commands: recipes/README.md.
Article: https://kexue.fm/archives/8802

    python recipes/kgclue.py                               # the small BERT, about two minutes
    python recipes/kgclue.py --ask "南山大学位于哪个城市？"
    python recipes/kgclue.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train train.jsonl --valid dev.jsonl --knowledge Knowledge.txt --learning-rate 5e-6
"""

import dataclasses
import itertools
import time
from pathlib import Path

from kexue_keras.experiments.command import command

import numpy as np

from kexue_keras import datasets
from kexue_keras.datasets.knowledge_tree import open_tree, read_triples
from kexue_keras.decoding import Generator
from kexue_keras.decoding.constraints.look_ahead import LookAhead
from kexue_keras.experiments import seq2seq
from kexue_keras.experiments.held_out import load_samples, sizes_of
from kexue_keras.experiments.options import DATA, SmallBert, check
from kexue_keras.experiments.prediction import by_length
from kexue_keras.metrics import exact_match, f1
from kexue_keras.metrics.subsequences import longest_common_subsequence

OF_DECODING = ("beams", "tree", "look_ahead", "renormalize", "evaluate_batch_size")
FREE = ("ask", "evaluate_samples", *OF_DECODING)  # the weights do not depend on these


@dataclasses.dataclass
class Config(SmallBert, seq2seq.Options):
    """Builds the tree, trains, evaluates; or answers one question with `--ask`."""

    train: tuple[Path, ...] = (DATA / "knowledge_train.jsonl",)
    """Files of training questions, JSON lines with `question` and `answer`: S（M） ||| P ||| O."""
    valid: tuple[Path, ...] = (DATA / "knowledge_valid.jsonl",)
    knowledge: tuple[Path, ...] = (DATA / "knowledge.tsv",)
    """Files of triples."""
    maxlen: int = 128
    """Largest number of tokens of question and answer."""
    max_target: int = 56
    """Largest number of tokens of an answer, S [SEP] P [SEP] M [SEP]."""
    epochs: int = 3
    batch_size: int = 16
    learning_rate: float = 4e-4
    """Adam's largest; the article takes 5e-6 for a RoFormer base."""
    output: Path = Path("runs/kgclue")
    tree: bool = True
    """Keep the beam search inside the knowledge base."""
    look_ahead: bool = True
    """Prefer relations that share more characters with the question."""
    renormalize: bool = True
    """Scale the probabilities of what the tree allows to sum to 1 at every step; else a triple with
    a long meaning, which no question tells, has little chance in a wide beam."""
    evaluate_samples: int = 200
    evaluate_batch_size: int = 32
    """Questions decoded at once."""
    ask: str | None = None
    """A question to answer with the best weights."""


# ---- data and tree


class Encoder:
    """Questions and triples to ids: `[CLS] question [SEP] S [SEP] P [SEP] M [SEP]`."""

    def __init__(self, tokenizer, config):
        self.tokenizer = tokenizer
        self.config = config

    def source(self, question):
        maxlen = self.config.maxlen - self.config.max_target
        return self.tokenizer.encode(question, maxlen=maxlen)[0]

    def targets(self, triples):
        """Ids of `S [SEP] P [SEP] M [SEP]` of many `(subject, relation, meaning)`."""
        parts = [
            [ids[1:] for ids, _ in self.tokenizer.encode_batch(list(column))]
            for column in zip(*triples, strict=True)
        ]
        return [sum(ids, []) for ids in zip(*parts, strict=True)]

    def __call__(self, question):
        (target,) = self.targets(
            [(question["subject"], question["predicate"], question["meaning"])]
        )
        if len(target) > self.config.max_target:
            target = [*target[: self.config.max_target - 1], self.tokenizer.end_id]
        return seq2seq.arrays(self.source(question["question"]), target)

    def tree(self):
        """The prefix tree of the knowledge base, built once."""
        config, tokens = self.config, self.tokenizer.token_dict
        return open_tree(config.knowledge, self.targets, tokens, config.output)


# ---- decoding


class Reader:
    """Answers questions, many at once."""

    def __init__(self, model, encoder):
        self.encoder, self.tree = encoder, encoder.tree()
        self.end_id = encoder.tokenizer.end_id
        self.generator = Generator(model, self.end_id, encoder.config.max_target, minlen=3)

    def answers(self, questions, topk, progress=False):
        """For every question a list of `(subject, relation, meaning, object, score)`."""
        config = self.encoder.config

        def found(questions):
            sources = [self.encoder.source(question) for question in questions]
            constraint = self.tree if config.tree else None
            if config.tree and config.look_ahead:
                constraint = [LookAhead(self.tree, ids, self.end_id) for ids in sources]
            results = self.generator.beam_search(
                sources,
                topk=topk,
                min_ends=3,
                constraint=constraint,
                renormalize=config.tree and config.renormalize,
            )
            return [[(*self.triple(ids), score) for ids, score in row] for row in results]

        return by_length(found, questions, config.evaluate_batch_size, progress=progress)

    def triple(self, ids):
        """Subject, relation, meaning and first object of a decoded key."""
        if ids in self.tree:
            return self.tree.payloads(ids)[0].split("\t", 3)
        parts, rest = [], ids
        for _ in range(3):
            end = rest.index(self.end_id) if self.end_id in rest else len(rest)
            parts.append(self.encoder.tokenizer.decode(rest[:end]))
            rest = rest[end + 1 :]
        return [*parts, ""]


# ---- evaluation


def measures(questions, triples):
    """EM and F1 of subject (with meaning), relation, object and all; the score of KgCLUE."""
    rows = {name: [] for name in ("S", "P", "O", "all")}
    for question, (s, p, m, o) in zip(questions, triples, strict=True):
        gold = _fields(
            question["subject"], question["predicate"], question["meaning"], question["object"]
        )
        for name, found, expected in zip(rows, _fields(s, p, m, o), gold, strict=True):
            rows[name].append((exact_match(found, expected), f1(found, expected)))
    table = {}
    for name, pairs in rows.items():
        table[f"EM {name}"], table[f"F1 {name}"] = np.mean(pairs, axis=0).tolist()
    table["score"] = (table["EM O"] + table["F1 O"]) / 2
    return table


def _fields(subject, relation, meaning, target):
    subject = f"{subject}（{meaning}）" if meaning else subject
    return subject, relation, target, f"{subject} ||| {relation} ||| {target}"


def baseline(config, questions):
    """The longest subject found in the question; its relation of which most stands in the rest."""

    def parts(question):
        text = question["question"].lower()
        return (text[i:j] for i in range(len(text)) for j in range(len(text), i, -1))

    # of the knowledge base, only the subjects that occur in a question are kept
    asked = {part for question in questions for part in parts(question)}
    index = {}
    for t in read_triples(config.knowledge):
        if (subject := t.subject.lower()) in asked:
            index.setdefault(subject, []).append(t)

    def answer(question):
        name = max((part for part in parts(question) if part in index), key=len, default=None)
        if name is None:
            return "", "", "", ""
        rest = question["question"].lower().replace(name, "", 1)

        def share(t):
            common = longest_common_subsequence(rest, t.predicate.lower())
            return common / (len(t.predicate) or 1)

        best = max(index[name], key=share)
        return best.subject, best.predicate, best.meaning, best.object

    return measures(questions, map(answer, questions))


def evaluate(reader, valid, topk, samples=None, show=0, progress=False):
    """EM of all and the score, for every held-out set."""
    figures = {}
    for name, questions in valid.items():
        questions = questions[: samples or None]
        began = time.perf_counter()
        answers = reader.answers([q["question"] for q in questions], topk, progress)
        seconds = time.perf_counter() - began
        triples = [a[0][:4] if a else ("", "", "", "") for a in answers]
        table = measures(questions, triples)
        if progress:
            print(f"beam {topk}, {name}: {_row(table)}; {len(questions) / seconds:.1f} questions/s")
        figures[f"{name}_EM"] = table["EM all"]
        figures[f"{name}_score"] = table["score"]
        for question, (s, p, m, o) in list(zip(questions, triples, strict=True))[:show]:
            gold = (question["subject"], question["predicate"], question["meaning"])
            right = (s, p, m) == gold
            print(f"  {'✓' if right else '✗'} {question['question']}")
            print(f"      {s} | {p} | {m} | {o}   (gold: {' | '.join(gold)})")
    return figures


def _row(table):
    return ", ".join(f"{name} {value:.2%}" for name, value in table.items())


# ---- main


def main(config):
    check(config, evaluate_batch_size=1)
    if config.ask is not None:
        config = config.as_trained(FREE)
        tokenizer, model = seq2seq.load_trained(config)
        reader = Reader(model, Encoder(tokenizer, config))
        for s, p, m, o, score in reader.answers([config.ask], config.beams[-1])[0]:
            print(f"{score:8.3f}  {s}{f'（{m}）' if m else ''} | {p} | {o}")
        return
    train, valid = load_samples(
        config,
        lambda path: datasets.load_kgclue(path, config.knowledge[0])[0],
        ["question"],
    )
    questions = [q["question"] for q in (*train, *sum(valid.values(), []))]
    texts = (text for t in read_triples(config.knowledge) for text in t)
    tokenizer, model = seq2seq.prepare(config, itertools.chain(texts, questions))
    reader = Reader(model, Encoder(tokenizer, config))
    print(f"{sizes_of(train, valid)}; {len(reader.tree)} keys")
    for name, held_out in valid.items():
        print(f"baseline, {name}: {_row(baseline(config, held_out))}")
    seq2seq.train(
        model,
        config,
        train,
        reader.encoder,
        evaluate=lambda: evaluate(reader, valid, config.beams[0], config.evaluate_samples, show=3),
        monitor=f"{next(reversed(valid))}_EM",
        free=FREE,
    )
    for topk in config.beams:
        evaluate(reader, valid, topk, progress=True)


if __name__ == "__main__":
    command(Config, main)
