"""Passages to questions with answers: one BERT writes the answer, then a question for it.

Task: `[CLS] passage [SEP] answer [SEP] question [SEP]` with the UniLM mask. The answer is sampled
from the nucleus, so that a passage yields different pairs; the question is searched by beam.
Data: `data/passages_*` (made by this project); CMRC 2018, DRCD, SQuAD and WebQA load as they are.
Published: three sample passages, no figures; ours are in README.md, section Results.
Article: https://kexue.fm/archives/7630

    python recipes/question_answer_generation.py            # our passages, some minutes
    python recipes/question_answer_generation.py --passage "青岚镇位于东原省，人口约30万人。"
    python recipes/question_answer_generation.py --passages FILE     # -> FILE.pairs.jsonl
    python recipes/question_answer_generation.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train cmrc2018_train.json --valid cmrc2018_dev.json --learning-rate 1e-5
"""

import dataclasses
import json
import os
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro

from kexue_keras import datasets
from kexue_keras.decoding import Generator
from kexue_keras.experiments import seq2seq
from kexue_keras.experiments.seq2seq import Options
from kexue_keras.files import replacing
from kexue_keras.metrics import bleu, rouge_l
from kexue_keras.tokenizers.segments import segment

DATA = Path(__file__).resolve().parent.parent / "data"
SMALL = DATA / "small_zh"


@dataclasses.dataclass
class Config(Options):
    """Trains, or resumes, and evaluates; or writes pairs for the passages given."""

    config_path: Path | None = SMALL / "bert_config.json"
    """Configuration of a pretrained BERT."""
    checkpoint_path: Path | None = SMALL / "bert_model.npz"
    """Checkpoint of the pretrained BERT."""
    dict_path: Path | None = SMALL / "vocab.txt"
    """Vocabulary of the pretrained BERT."""
    train: tuple[Path, ...] = (DATA / "passages_train.json",)
    """Files of training questions."""
    valid: tuple[Path, ...] = (DATA / "passages_valid.json",)
    """Files of held-out questions."""
    hold_out: float = 0.0
    """Share of the training passages to hold out as one more validation set."""
    max_passage: int = 128
    """Largest number of tokens of a passage; longer ones are cut at sentence ends."""
    max_answer: int = 16
    """Largest number of tokens of an answer."""
    max_target: int = 64
    """Largest number of tokens of a question."""
    maxlen: int = 208
    """Largest number of tokens of passage, answer and question."""
    epochs: int = 4
    """Passes over the training questions."""
    learning_rate: float = 4e-4
    """Adam's; the article takes 1e-5 for a BERT base."""
    pairs: int = 5
    """Answers sampled for every piece of a passage."""
    topp: float = 0.95
    """Nucleus of the answers."""
    beam: int = 1
    """Beam size of the questions."""
    evaluate_samples: int = 100
    """Questions, and passages, of each held-out set that are decoded after an epoch, 0: all; all
    are at the end."""
    output: Path = Path("runs/question_answer_generation")
    """Directory of the run; the same command continues an interrupted run."""
    passage: str | None = None
    """A passage to write pairs for, with the best weights."""
    passages: Path | None = None
    """A text file with a passage a line, or JSON lines with `passage`; pairs are written beside it,
    and an interrupted command goes on where it stopped."""


# ---- data


def load_questions(config):
    """Training samples, and the held-out ones by name; the parts share no passage."""
    train = [q for path in config.train for q in datasets.load_qa(path)]
    valid = seq2seq.load_valid(config.valid, datasets.load_qa, config.hold_out)
    if config.hold_out:
        parts = (1.0 - config.hold_out, config.hold_out)
        train, valid["held_out"] = datasets.split(train, parts, key=lambda q: q["passage"])
    for name in ("passage", "question"):  # WebQA has one question for many passages
        held_out = {q[name] for questions in valid.values() for q in questions}
        train = [q for q in train if q[name] not in held_out]
    train = cut(train, config)
    valid = {name: cut(questions, config) for name, questions in valid.items()}
    held_out = [(f"held out: {name}", samples) for name, samples in valid.items()]
    for name, samples in [("train", train), *held_out]:
        if not samples:
            raise ValueError(
                f"`max_passage` {config.max_passage} leaves no piece of a passage that holds an "
                f"answer. Received: {name}"
            )
    return train, valid


def cut(questions, config):
    """`(piece, answer, question)`: every question with the piece of its passage that answers it.

    Of several pieces that hold an answer, most by chance, it is the one that shares most pairs of
    neighbouring characters with the question.
    """
    samples = []
    for q in questions:
        found, question = [], q["question"]
        shared = {question[i : i + 2] for i in range(len(question) - 1)}
        for piece in segment(q["passage"], config.max_passage - 2):
            answer = next((a for a in q["answers"] if a in piece), None)
            if answer is not None:
                found.append((sum(pair in piece for pair in shared), piece, answer))
        if found:
            _, piece, answer = max(found, key=lambda row: row[0])
            samples.append((piece, answer, question))
    return samples


class Encoder:
    """Samples to arrays, and the two prompts of decoding."""

    def __init__(self, tokenizer, config):
        self.tokenizer = tokenizer
        self.config = config

    def passage(self, text):
        return self.tokenizer.encode(text, maxlen=self.config.max_passage)[0]

    def target(self, text, maxlen):
        """Ids of `text [SEP]`."""
        return self.tokenizer.encode(text, maxlen=maxlen + 1)[0][1:]

    def __call__(self, sample):
        passage, answer, question = sample
        answer = self.target(answer, self.config.max_answer)
        question = self.target(question, self.config.max_target)
        return seq2seq.arrays(self.passage(passage), answer + question)


# ---- decoding


class Pair(NamedTuple):
    """An answer and a question; whether the answer stands in the passage, token by token, and how
    often it was sampled."""

    answer: str
    question: str
    in_passage: bool
    times: int


class Writer:
    """Writes answers and questions for many passages at once."""

    def __init__(self, model, encoder):
        self.encoder, self.model, config = encoder, model, encoder.config
        end_id = encoder.tokenizer.end_id
        self.answers_of = Generator(model, end_id=end_id, maxlen=config.max_answer, minlen=2)
        self.questions_of = Generator(model, end_id=end_id, maxlen=config.max_target, minlen=2)

    def questions(self, passages, answers, batch_size=32, progress=False):
        """The question that each answer answers."""
        end_id, maxlen = self.encoder.tokenizer.end_id, self.encoder.config.max_answer
        prompts = []
        for passage, answer in zip(passages, answers, strict=True):
            ids = answer if isinstance(answer, list) else self.encoder.target(answer, maxlen)
            ids = ids if ids[-1] == end_id else [*ids, end_id]
            source = self.encoder.passage(passage)
            prompts.append((source + ids, [0] * len(source) + [1] * len(ids)))
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i][0]))
        written = [""] * len(prompts)
        for start in seq2seq.progress_bar(range(0, len(order), batch_size), progress):
            chosen = order[start : start + batch_size]
            token_ids, segment_ids = zip(*(prompts[i] for i in chosen), strict=True)
            found = self.questions_of.beam_search(
                list(token_ids), list(segment_ids), topk=self.encoder.config.beam
            )
            for i, results in zip(chosen, found, strict=True):
                written[i] = self.encoder.tokenizer.decode(results[0][0])
        return written

    def pairs(self, passages, seed=0, batch_size=32):
        """For every passage its different `Pair`s, in the order sampled.

        `config.pairs` answers are sampled for each piece that the passage is cut into; answers and
        questions without a character are left out.
        """
        config, tokenizer = self.encoder.config, self.encoder.tokenizer
        pieces = [
            (i, piece)
            for i, passage in enumerate(passages)
            for piece in segment(passage, config.max_passage - 2)
        ]
        prompts = [self.encoder.passage(piece) for _, piece in pieces]
        sampled = []
        for start in range(0, len(prompts), batch_size):  # of a long text there are many
            sampled += self.answers_of.random_sample(
                prompts[start : start + batch_size],
                n=config.pairs,
                topp=config.topp,
                seed=seed if not start else seed_of(seed, start),
            )
        rows = [
            (place, ids, times)
            for place, answers in enumerate(sampled)
            for ids, times in Counter(map(tuple, answers)).items()
        ]
        chosen = [pieces[place][1] for place, _, _ in rows]
        questions = self.questions(chosen, [list(ids) for _, ids, _ in rows])
        pairs = [{} for _ in passages]
        for (place, ids, times), question in zip(rows, questions, strict=True):
            ids = [i for i in ids if i != tokenizer.end_id]
            inside = tokenizer.unk_id not in ids and contains(prompts[place][1:-1], ids)
            pair = Pair(tokenizer.decode(ids), question, inside, times)
            if pair.answer and pair.question:
                found = pairs[pieces[place][0]]
                if (before := found.get(pair[:2])) is not None:
                    inside, times = inside or before.in_passage, times + before.times
                    pair = pair._replace(in_passage=inside, times=times)
                found[pair[:2]] = pair
        return [list(found.values()) for found in pairs]

    def perplexity(self, samples, batch_size=32):
        """Of the gold questions, given passage and gold answer, per token."""
        config, total, count = self.encoder.config, 0.0, 0
        order = sorted(samples, key=lambda sample: len(sample[0]))
        for start in range(0, len(order), batch_size):
            batch = []
            for sample in order[start : start + batch_size]:
                (token_ids, segment_ids, positions), target = self.encoder(sample)
                skip = len(self.encoder.target(sample[1], config.max_answer))
                row = (token_ids, segment_ids, positions[skip:], target[skip:])
                batch.append([np.array(x, "int32") for x in row])
            columns = list(zip(*batch, strict=True))
            widths = [min(-(-max(map(len, c)) // 32) * 32, config.maxlen) for c in columns]
            arrays = [
                datasets.stack(c, batch_size, w) for c, w in zip(columns, widths, strict=True)
            ]
            logits = self.model.predict_on_batch(arrays[:3])
            logits = logits - logits.max(-1, keepdims=True)
            chosen = np.take_along_axis(logits, arrays[3][..., None], axis=-1)[..., 0]
            losses = np.log(np.exp(logits).sum(-1)) - chosen
            known = arrays[3] != 0
            total, count = total + losses[known].sum(), count + known.sum()
        return float(np.exp(total / count))


def seed_of(seed, start):
    """A seed of its own for what begins at `start`."""
    return int(np.random.SeedSequence((seed, start)).generate_state(1)[0]) >> 1


def contains(ids, part):
    """Whether `part` is a stretch of `ids`."""
    return any(ids[i : i + len(part)] == part for i in range(len(ids) - len(part) + 1))


def plain(text):
    """A text as the tokenizer leaves it: without capitals and blanks."""
    return "".join(text.lower().split())


def evaluate(writer, valid, samples=None, show=0, progress=False):
    """Measures of the questions given gold answers, and of sampled pairs, by held-out set."""
    figures = {}
    for name, rows in valid.items():
        rows = rows[: samples or None]
        passages, answers, gold = zip(*rows, strict=True)
        found = writer.questions(passages, answers, progress=progress)
        texts = [plain(text) for text in gold], [plain(text) for text in found]
        figures[f"{name}_rouge_l"] = float(np.mean([*map(rouge_l, *texts)]))
        figures[f"{name}_bleu"] = bleu(*texts)
        figures[f"{name}_perplexity"] = writer.perplexity(rows)
        different = list(dict.fromkeys(passages))
        pairs = []
        for start in seq2seq.progress_bar(range(0, len(different), 32), progress):
            pairs += writer.pairs(different[start : start + 32], seed=start)
        inside = [pair.in_passage for found in pairs for pair in found for _ in range(pair.times)]
        figures[f"{name}_answers_in_passage"] = float(np.mean(inside)) if inside else 0.0
        figures[f"{name}_distinct_pairs"] = float(np.mean([len(found) for found in pairs]))
        for passage, found in list(zip(different, pairs, strict=True))[:show]:
            print(f"  {passage}")
            for pair in found[:2]:
                print(f"      {pair.question}   {pair.answer}")
    return figures


# ---- passages of the user


def read_passages(path):
    """Passages of a text file, or of JSON lines; either may be compressed."""
    if {".json", ".jsonl"}.isdisjoint(path.suffixes):
        return [line for _, line in datasets.read_lines(path)]
    return [text for _, _, (text,) in datasets.read_objects(path, ("passage",))]


def write_pairs(writer, path, chunk=32):
    """Writes `path` + `.pairs.jsonl`; an interrupted call goes on with the next chunk of passages.

    What is written already waits beside it, under a first line that tells options and passages.
    """
    passages, config = read_passages(path), writer.encoder.config
    target = path.with_name(path.name + ".pairs.jsonl")
    partial = path.with_name(path.name + ".pairs.partial")
    made_of = {name: getattr(config, name) for name in ("pairs", "topp", "beam", "seed")}
    made_of["weights"] = zlib.crc32(config.best_path.read_bytes())
    made_of["passages"] = zlib.crc32("\n".join(passages).encode())
    header = json.dumps(made_of) + "\n"
    if not partial.exists():
        with replacing(partial) as temporary:
            temporary.write_text(header, encoding="utf-8")
    # bytes: a full disk may have cut the last line within a character
    lines = partial.read_bytes().split(b"\n")[:-1]
    if lines[:1] != [header[:-1].encode()]:
        raise ValueError(
            f"{partial} was begun with other options, weights or passages; delete it to begin "
            f"again. Received: {header[:-1]}"
        )
    done = (len(lines) - 1) // chunk * chunk
    with open(partial, "r+", encoding="utf-8", newline="") as file:
        file.truncate(sum(len(line) + 1 for line in lines[: 1 + done]))
        file.seek(0, os.SEEK_END)
        for start in seq2seq.progress_bar(range(done, len(passages), chunk)):
            part = passages[start : start + chunk]
            seed = seed_of(config.seed, start)
            for passage, pairs in zip(part, writer.pairs(part, seed=seed), strict=True):
                row = {"passage": passage, "pairs": [pair._asdict() for pair in pairs]}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
    with replacing(target) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(partial.read_text(encoding="utf-8").removeprefix(header))
    partial.unlink()
    print(f"pairs of {len(passages)} passages in {target}")


# ---- main


def main(config):
    asks = config.passage is not None or config.passages is not None
    if asks:
        shaping = ("max_passage", "max_answer")
        best, config = config.best_path, config.as_trained(*shaping)
    if config.max_passage + config.max_answer + config.max_target > config.maxlen:
        raise ValueError(
            "`maxlen` must hold `max_passage`, `max_answer` and `max_target`. "
            f"Received: {config.maxlen}"
        )
    train, valid = ([], {}) if asks else load_questions(config)
    tokenizer, keep_tokens = seq2seq.load_tokenizer(config, (t for row in train for t in row))
    model = seq2seq.build_model(config, tokenizer, keep_tokens)
    encoder = Encoder(tokenizer, config)
    writer = Writer(model, encoder)
    if asks:
        model.load_weights(best)
        if config.passage is not None:
            for pair in writer.pairs([config.passage], config.seed)[0]:
                print(f"{pair.question}   {pair.answer}")
        if config.passages is not None:
            write_pairs(writer, config.passages)
        return
    sizes = {name: len(rows) for name, rows in valid.items()}
    print(f"{len(train)} training questions; held out: {sizes}")
    seq2seq.train(
        model,
        config,
        train,
        encoder,
        evaluate=lambda: evaluate(writer, valid, config.evaluate_samples, show=3),
        monitor=f"{next(reversed(valid))}_rouge_l",
        may_change=("passage", "passages", "pairs", "topp", "beam", "evaluate_samples"),
    )
    for name, figure in evaluate(writer, valid, progress=True, show=10).items():
        print(f"{name} {figure:.4g}")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command continues where it was")
