"""Questions over a knowledge base: Seq2Seq whose beam search walks a prefix tree.

Task: read a question, name the subject S, the relation P and the meaning M of S; the tree's leaf
holds the objects. The decoder can only write what the knowledge base holds.
Data: `data/knowledge_*` and the small BERT in `data/small_zh` (made by this project); KgCLUE and
NLPCC 2016 load as they are, and a knowledge base is any TSV of `subject TAB relation TAB object`,
where the subject may be `S（M）`.
Published: 90.12 / 91.37 (mean of EM and F1 on valid / test_public) with RoFormer-Sim-FT.
Our results, with their commands: README.md, section Results.
Article: https://kexue.fm/archives/8802

    python recipes/kgclue.py                               # the small BERT, about two minutes
    python recipes/kgclue.py --ask "南山大学位于哪个城市？"
    python recipes/kgclue.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train train.jsonl --valid dev.jsonl --knowledge Knowledge.txt --learning-rate 5e-6
"""

import dataclasses
import hashlib
import itertools
import time
from pathlib import Path

import numpy as np
import tyro

from kexue_keras import datasets
from kexue_keras.decoding import Generator, PrefixTree
from kexue_keras.experiments import seq2seq
from kexue_keras.experiments.comparison import check_least
from kexue_keras.experiments.seq2seq import Options
from kexue_keras.metrics import exact_match, f1
from kexue_keras.metrics.subsequences import CommonSubsequence, longest_common_subsequence

DATA = Path(__file__).resolve().parent.parent / "data"
SMALL = DATA / "small_zh"
CHUNK = 4096


@dataclasses.dataclass
class Config(Options):
    """Builds the tree, trains, evaluates; or answers one question with `--ask`."""

    config_path: Path | None = SMALL / "bert_config.json"
    """Configuration of a pretrained BERT; with "None" for all three paths a small new model."""
    checkpoint_path: Path | None = SMALL / "bert_model.npz"
    """Checkpoint of the pretrained BERT; without it, weights are random."""
    dict_path: Path | None = SMALL / "vocab.txt"
    """Vocabulary of the pretrained BERT, vocab.txt."""
    train: tuple[Path, ...] = (DATA / "knowledge_train.jsonl",)
    """Files of training questions, JSON lines with `question` and `answer`: S（M） ||| P ||| O."""
    valid: tuple[Path, ...] = (DATA / "knowledge_valid.jsonl",)
    """Files of held-out questions."""
    hold_out: float = 0.0
    """Share of the training questions to hold out as one more validation set."""
    knowledge: tuple[Path, ...] = (DATA / "knowledge.tsv",)
    """Files of triples."""
    maxlen: int = 128
    """Largest number of tokens of question and answer."""
    max_target: int = 56
    """Largest number of tokens of an answer, S [SEP] P [SEP] M [SEP]."""
    epochs: int = 3
    """Passes over the training questions."""
    batch_size: int = 16
    """Samples in a batch."""
    learning_rate: float = 4e-4
    """Adam's; the article takes 5e-6 for a RoFormer base."""
    tree: bool = True
    """Keep the beam search inside the knowledge base."""
    look_ahead: bool = True
    """Prefer relations that share more characters with the question."""
    renormalize: bool = True
    """Scale the probabilities of what the tree allows to sum to 1 at every step; else a triple with
    a long meaning, which no question tells, has little chance in a wide beam."""
    beams: tuple[int, ...] = (1, 3)
    """Beam sizes of the final evaluation; the first one also decodes after every epoch."""
    evaluate_samples: int = 200
    """Questions of each held-out set that are decoded after an epoch; all are at the end."""
    evaluate_batch_size: int = 32
    """Questions decoded at once."""
    output: Path = Path("runs/kgclue")
    """Directory of the run; the same command continues an interrupted run."""
    ask: str | None = None
    """A question to answer with the best weights."""


# ---- data and tree


def load_questions(config):
    """Training questions, and the held-out sets by name."""

    def load(path):
        return datasets.load_kgclue(path, config.knowledge[0])[0]

    train = [q for path in config.train for q in load(path)]
    valid = seq2seq.load_valid(config.valid, load, config.hold_out)
    if config.hold_out:
        parts = (1.0 - config.hold_out, config.hold_out)
        train, valid["held_out"] = datasets.split(train, parts, key=lambda q: q["question"])
    held_out = {question["question"] for questions in valid.values() for question in questions}
    return [question for question in train if question["question"] not in held_out], valid


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
        triple = (question["subject"], question["predicate"], question["meaning"])
        target = self.targets([triple])[0]
        end_id = self.tokenizer.end_id
        target = (
            target[: self.config.max_target - 1] + [end_id]
            if len(target) > (self.config.max_target)
            else target
        )
        return seq2seq.arrays(self.source(question["question"]), target)


def read_triples(config):
    for path in config.knowledge:
        yield from datasets.Triples(path)


def open_tree(config, encoder):
    """The prefix tree of the knowledge base, built once per content of its files and vocabulary."""
    digest = hashlib.blake2b("\n".join(encoder.tokenizer.token_dict).encode(), digest_size=8)
    for path in config.knowledge:
        stat = path.stat()
        digest.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode())
    path = config.output / f"tree-{digest.hexdigest()}.bin"
    if path.exists():
        return PrefixTree.load(path)
    config.output.mkdir(parents=True, exist_ok=True)
    return PrefixTree.build(_keys(config, encoder), path)


def _keys(config, encoder):
    chunk = []
    for triple in read_triples(config):
        chunk.append(triple)
        if len(chunk) == CHUNK:
            yield from _encoded(chunk, encoder)
            chunk = []
    yield from _encoded(chunk, encoder)


def _encoded(chunk, encoder):
    if chunk:
        keys = encoder.targets([(t.subject, t.predicate, t.meaning) for t in chunk])
        for key, t in zip(keys, chunk, strict=True):
            yield key, "\t".join((t.subject, t.predicate, t.meaning, t.object))


# ---- decoding


class LookAhead:
    """A tree whose relations are re-weighted by what they will still find in the question.

    With the subject written, let `gain` be how much longer the longest common subsequence with the
    question can become, at best, after a token. The token's probability p becomes
    `p ** (1 / (gain + 1))`; all are scaled to the mass they had together, so that without any gain
    nothing changes.
    """

    def __init__(self, tree, question_ids, end_id):
        self.tree = tree
        self.end_id = end_id
        self.common = CommonSubsequence([i for i in question_ids if i != end_id])
        self.best = {}

    def next_tokens(self, prefix):
        return self.tree.next_tokens(prefix)

    def rescore(self, prefix, tokens, log_probabilities):
        if len(tokens) < 2 or self.end_id not in prefix:
            return log_probabilities
        state = self.common.extend(self.common.start, prefix)
        now = self.common.length(state)
        node = self.tree.root
        for token in prefix:
            node = int(self.tree.step([node], [token])[0])
        children = dict(zip(*(array.tolist() for array in self.tree.children(node)), strict=True))
        longest = [
            self.longest(children[t], self.common.extend(state, [t])) for t in tokens.tolist()
        ]
        gain = np.array(longest) - now
        rescored = log_probabilities / (gain + 1)
        return rescored + np.logaddexp.reduce(log_probabilities) - np.logaddexp.reduce(rescored)

    def longest(self, node, state):
        """Longest common subsequence of the question and any key through this node."""
        if (node, state) not in self.best:
            tokens, nodes = self.tree.children(node)
            ways = [
                self.longest(n, self.common.extend(state, [t]))
                for t, n in zip(tokens.tolist(), nodes.tolist(), strict=True)
            ]
            self.best[node, state] = max(ways, default=self.common.length(state))
        return self.best[node, state]


class Reader:
    """Answers questions, many at once."""

    def __init__(self, model, encoder, tree):
        self.encoder = encoder
        self.tree = tree
        self.end_id = encoder.tokenizer.end_id
        self.generator = Generator(
            model, end_id=self.end_id, maxlen=encoder.config.max_target, minlen=3
        )

    def answers(self, questions, topk, progress=False):
        """For every question a list of `(subject, relation, meaning, object, score)`."""
        config = self.encoder.config
        size = config.evaluate_batch_size
        order = sorted(range(len(questions)), key=lambda i: len(questions[i]))
        found = [[] for _ in questions]
        for start in seq2seq.progress_bar(range(0, len(order), size), progress):
            chosen = order[start : start + size]
            sources = [self.encoder.source(questions[i]) for i in chosen]
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
            for i, hypotheses in zip(chosen, results, strict=True):
                found[i] = [(*self.triple(ids), score) for ids, score in hypotheses]
        return found

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
    for t in read_triples(config):
        if (subject := t.subject.lower()) in asked:
            index.setdefault(subject, []).append(t)
    found = []
    for question in questions:
        names = [part for part in parts(question) if part in index]
        name = max(names, key=len, default=None)
        if name is None:
            found.append(("", "", "", ""))
            continue
        rest = question["question"].lower().replace(name, "", 1)
        best = max(
            index[name],
            key=lambda t: (
                longest_common_subsequence(rest, t.predicate.lower()) / (len(t.predicate) or 1)
            ),
        )
        found.append((best.subject, best.predicate, best.meaning, best.object))
    return measures(questions, found)


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
    check_least(config, beams=1, evaluate_samples=0)
    if config.ask is not None:
        best, config = config.best_path, config.as_trained()
    train, valid = ([], {}) if config.ask else load_questions(config)
    texts = () if config.ask else (text for t in read_triples(config) for text in t)
    questions = [q["question"] for q in (*train, *(q for v in valid.values() for q in v))]
    texts = itertools.chain(texts, questions)
    tokenizer, keep_tokens = seq2seq.load_tokenizer(config, texts)
    model = seq2seq.build_model(config, tokenizer, keep_tokens)
    encoder = Encoder(tokenizer, config)
    tree = open_tree(config, encoder)
    reader = Reader(model, encoder, tree)
    if config.ask is not None:
        model.load_weights(best)
        for s, p, m, o, score in reader.answers([config.ask], config.beams[-1])[0]:
            print(f"{score:8.3f}  {s}{f'（{m}）' if m else ''} | {p} | {o}")
        return
    sizes = {name: len(held_out) for name, held_out in valid.items()}
    print(f"{len(train)} training questions; held out: {sizes}; {len(tree)} keys")
    for name, held_out in valid.items():
        print(f"baseline, {name}: {_row(baseline(config, held_out))}")
    of_decoding = ("beams", "tree", "look_ahead", "renormalize", "evaluate_batch_size")
    seq2seq.train(
        model,
        config,
        train,
        encoder,
        evaluate=lambda: evaluate(reader, valid, config.beams[0], config.evaluate_samples, show=3),
        monitor=f"{next(reversed(valid))}_EM",
        may_change=("ask", "evaluate_samples", *of_decoding),
    )
    for topk in config.beams:
        evaluate(reader, valid, topk, progress=True)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; the same command continues after the last epoch") from None
