"""Passages to questions with answers: one BERT writes the answer, then a question for it.

Task: `[CLS] passage [SEP] answer [SEP] question [SEP]` with the UniLM mask. The answer is sampled
from the nucleus, so that a passage yields different pairs; the question is searched by beam.
Data: `data/passages_*` (made by this project); CMRC 2018, DRCD, SQuAD and WebQA load as they are.
Published: three sample passages, no figures; ours are in recipes/README.md.
Article: https://kexue.fm/archives/7630

    python recipes/question_answer_generation.py            # our passages, some minutes
    python recipes/question_answer_generation.py --passage "青岚镇位于东原省，人口约30万人。"
    python recipes/question_answer_generation.py --passages FILE     # -> FILE.pairs.jsonl
    python recipes/question_answer_generation.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train cmrc2018_train.json --valid cmrc2018_dev.json --learning-rate 1e-5
"""

import dataclasses
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from kexue_keras.experiments.command import command

import numpy as np

from kexue_keras import datasets
from kexue_keras.datasets.lines import read_lines, read_objects
from kexue_keras.datasets.pieces import with_pieces
from kexue_keras.decoding import Generator
from kexue_keras.experiments import seq2seq
from kexue_keras.experiments.held_out import load_samples, sizes_of
from kexue_keras.experiments.json_lines import write_rows_in_parts
from kexue_keras.experiments.options import DATA, SmallBert, UsageError, check
from kexue_keras.experiments.prediction import by_length, in_parts, progress_bar, seed_of
from kexue_keras.metrics import bleu, rouge_l
from kexue_keras.tokenizers.segments import segment

# the weights do not depend on these
FREE = ("passage", "passages", "pairs", "topp", "beams", "evaluate_samples")


@dataclasses.dataclass
class Config(SmallBert, seq2seq.Options):
    """Trains, or resumes, and evaluates; or writes pairs for the passages given."""

    train: tuple[Path, ...] = (DATA / "passages_train.json",)
    valid: tuple[Path, ...] = (DATA / "passages_valid.json",)
    max_passage: int = 128
    """Largest number of tokens of a passage; longer ones are cut at sentence ends."""
    max_answer: int = 16
    """Largest number of tokens of an answer."""
    max_target: int = 64
    maxlen: int = 208
    epochs: int = 4
    learning_rate: float = 4e-4
    output: Path = Path("runs/question_answer_generation")
    pairs: int = 5
    """Answers sampled for every piece of a passage."""
    topp: float = 0.95
    """Nucleus of the answers."""
    beams: tuple[int, ...] = (1,)
    evaluate_samples: int = 100
    passage: str | None = None
    """A passage to write pairs for, with the best weights."""
    passages: Path | None = None
    """A text file with a passage a line, or JSON lines with `passage`; pairs are written beside it,
    and an interrupted command goes on where it stopped."""


# ---- data


def load_questions(config):
    """Training samples, and the held-out ones by name; the parts share no passage and, as WebQA has
    one question for many passages, no question."""
    train, valid = load_samples(config, datasets.load_qa, ["passage", "question"])
    train = with_pieces(train, config.max_passage - 2)
    valid = {
        name: with_pieces(questions, config.max_passage - 2) for name, questions in valid.items()
    }
    for name, samples in [("train", train), *valid.items()]:
        if not samples:
            holds = f"`max_passage` {config.max_passage} leaves no piece that holds an answer"
            raise UsageError(f"{holds}. Received: {name}")
    return train, valid


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
        self.answers_of = Generator(model, end_id, config.max_answer, minlen=2)
        self.questions_of = Generator(model, end_id, config.max_target, minlen=2)

    def questions(self, passages, answers, topk=1, progress=False):
        """The question that each answer, a text or its ids, answers."""
        end_id, maxlen = self.encoder.tokenizer.end_id, self.encoder.config.max_answer
        prompts = []
        for passage, answer in zip(passages, answers, strict=True):
            ids = answer if isinstance(answer, list) else self.encoder.target(answer, maxlen)
            ids = ids if ids[-1] == end_id else [*ids, end_id]
            source = self.encoder.passage(passage)
            prompts.append((source + ids, [0] * len(source) + [1] * len(ids)))

        def written(prompts):
            found = self.questions_of.beam_search(*map(list, zip(*prompts, strict=True)), topk=topk)
            return [self.encoder.tokenizer.decode(best[0]) for best, *_ in found]

        return by_length(written, prompts, length=lambda prompt: len(prompt[0]), progress=progress)

    def pairs(self, passages, seed=0, topk=1):
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

        def sampled(prompts, start):
            own = seed_of(seed, start) if start else seed
            return self.answers_of.random_sample(
                prompts, n=config.pairs, topp=config.topp, seed=own
            )

        rows = [
            (place, ids, times)
            for place, answers in enumerate(in_parts(sampled, prompts))
            for ids, times in Counter(map(tuple, answers)).items()
        ]
        chosen = [pieces[place][1] for place, _, _ in rows]
        questions = self.questions(chosen, [list(ids) for _, ids, _ in rows], topk)
        pairs = [{} for _ in passages]
        for (place, ids, times), question in zip(rows, questions, strict=True):
            ids = [i for i in ids if i != tokenizer.end_id]
            inside = tokenizer.unk_id not in ids and contains(prompts[place][1:-1], ids)
            texts, found = (tokenizer.decode(ids), question), pairs[pieces[place][0]]
            if all(texts):
                before, number = found.get(texts, (False, 0))
                found[texts] = inside or before, times + number
        return [[Pair(*texts, *rest) for texts, rest in found.items()] for found in pairs]

    def perplexity(self, samples):
        """Of the gold questions, given passage and gold answer, per token."""
        rows, config = [], self.encoder.config
        for sample in samples:
            (token_ids, segment_ids, positions), target = self.encoder(sample)
            skip = len(self.encoder.target(sample[1], config.max_answer))
            rows.append(((token_ids, segment_ids, positions[skip:]), target[skip:]))
        return seq2seq.perplexity(self.model, rows, config.maxlen)


def contains(ids, part):
    """Whether `part` is a stretch of `ids`."""
    return any(ids[i : i + len(part)] == part for i in range(len(ids) - len(part) + 1))


def evaluate(writer, valid, topk=1, samples=None, show=0, progress=False):
    """Measures of the questions given gold answers, and of sampled pairs, by held-out set."""
    figures = {}
    for name, rows in valid.items():
        rows = rows[: samples or None]
        passages, answers, gold = zip(*rows, strict=True)
        found = writer.questions(passages, answers, topk, progress)
        texts = [seq2seq.plain(text) for text in gold], [seq2seq.plain(text) for text in found]
        figures[f"{name}_rouge_l"] = float(np.mean([*map(rouge_l, *texts)]))
        figures[f"{name}_bleu"] = bleu(*texts)
        figures[f"{name}_perplexity"] = writer.perplexity(rows)
        different = list(dict.fromkeys(passages))
        pairs = in_parts(lambda p, start: writer.pairs(p, start, topk), different, 32, progress)
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
        return [line for _, line in read_lines(path)]
    return [text for _, _, (text,) in read_objects(path, ("passage",))]


def write_pairs(writer, path, chunk=32):
    """Writes `path` + `.pairs.jsonl`; an interrupted call goes on with the next passages."""
    passages, config = read_passages(path), writer.encoder.config
    target = path.with_name(path.name + ".pairs.jsonl")
    made_of = {"pairs": config.pairs, "topp": config.topp, "beam": config.beams[-1]}
    made_of["seed"] = config.seed
    made_of["weights"] = zlib.crc32(config.best_path.read_bytes())
    made_of["passages"] = zlib.crc32("\n".join(passages).encode())

    def rows(part, start):
        found = writer.pairs(part, seed_of(config.seed, start), config.beams[-1])
        for passage, pairs in zip(part, found, strict=True):
            yield {"passage": passage, "pairs": [pair._asdict() for pair in pairs]}

    write_rows_in_parts(target, passages, rows, made_of, chunk, progress_bar)
    print(f"pairs of {len(passages)} passages in {target}")


# ---- main


def main(config):
    longest = config.max_passage + config.max_answer + config.max_target
    check(config, pairs=1, maxlen=longest)
    if config.passage is not None or config.passages is not None:
        config = config.as_trained(FREE)
        tokenizer, model = seq2seq.load_trained(config)
        writer = Writer(model, Encoder(tokenizer, config))
        if config.passage is not None:
            for pair in writer.pairs([config.passage], config.seed, config.beams[-1])[0]:
                print(f"{pair.question}   {pair.answer}")
        if config.passages is not None:
            write_pairs(writer, config.passages)
        return
    train, valid = load_questions(config)
    print(sizes_of(train, valid))
    tokenizer, model = seq2seq.prepare(config, (text for sample in train for text in sample))
    writer, topk = Writer(model, Encoder(tokenizer, config)), config.beams[0]
    seq2seq.train(
        model,
        config,
        train,
        writer.encoder,
        evaluate=lambda: evaluate(writer, valid, topk, config.evaluate_samples, show=3),
        monitor=f"{next(reversed(valid))}_rouge_l",
        free=FREE,
    )
    for topk in config.beams:
        print(f"beam {topk}:")
        for name, figure in evaluate(writer, valid, topk, progress=True, show=10).items():
            print(f"{name} {figure:.4g}")


if __name__ == "__main__":
    command(Config, main)
