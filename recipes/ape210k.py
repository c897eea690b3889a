"""Word problems to equations: Seq2Seq with one BERT and the UniLM mask.

Task: read a school problem in Chinese, write the equation, evaluate it exactly.
Data: `data/math_problems_*.jsonl` (made by this project); any file in ape210k's format.
Published: 71.85 / 72.35 % of valid / test right with a BERT base on 200k problems, beam 3.
Our results, with their commands: recipes/README.md.
Article: https://kexue.fm/archives/7809; data: https://arxiv.org/abs/2009.11506

    python recipes/ape210k.py                               # a small model, some minutes
    python recipes/ape210k.py --solve "小明有5个苹果，又买了3个，共有多少个？"
    python recipes/ape210k.py --predict problems.jsonl      # -> problems.predictions.jsonl
    python recipes/ape210k.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train train.ape.json --valid valid.ape.json --learning-rate 2e-5 --epochs 25
"""

import dataclasses
import re
from pathlib import Path
from typing import Literal

from kexue_keras.experiments.command import command

from kexue_keras import datasets, equations
from kexue_keras.datasets.lines import read_objects
from kexue_keras.decoding import Generator
from kexue_keras.equations import MARKS, mask_numbers, unmask_numbers
from kexue_keras.equations.answers import answer_text
from kexue_keras.experiments import seq2seq
from kexue_keras.experiments.held_out import load_samples, sizes_of
from kexue_keras.experiments.json_lines import write_rows
from kexue_keras.experiments.options import DATA, check
from kexue_keras.experiments.prediction import by_length

FREE = ("predict", "solve", "beams", "evaluate_samples")  # the weights do not depend on these


@dataclasses.dataclass
class Config(seq2seq.Options):
    """Trains a Seq2Seq model on word problems, or resumes; then evaluates the best weights."""

    train: tuple[Path, ...] = (DATA / "math_problems_train.jsonl",)
    valid: tuple[Path, ...] = (DATA / "math_problems_valid.jsonl",)
    epochs: int = 16
    output: Path = Path("runs/ape210k")
    resample: bool = True
    """Draw new numbers for question and equation in every epoch."""
    numbers: Literal["digits", "marks", "wordpiece"] = "digits"
    """Numbers digit by digit; as marks that say which number of the question stands where, so that
    `resample` has no effect; or as WordPiece cuts them, as in the article."""
    predict: Path | None = None
    """JSON lines with `original_text`; writes the equations beside it, with the best weights."""
    solve: str | None = None
    """A question to solve with the best weights."""


# ---- data


class Encoder:
    """Problems to arrays: `[CLS] question [SEP] equation [SEP]` and where its targets stand."""

    def __init__(self, tokenizer, config):
        self.tokenizer = tokenizer
        self.config = config

    def read(self, question, equation=""):
        """Token ids of question and equation, and the numbers that marks stand for."""
        numbers = []
        if self.config.numbers == "marks":
            question, equation, numbers = mask_numbers(question, equation)
        if self.config.numbers != "wordpiece":  # spaces around what shall be a token of its own
            pattern = re.compile(rf"([0-9{MARKS}])")
            question, equation = (pattern.sub(r" \1 ", text) for text in (question, equation))
        maxlen = self.config.maxlen - self.config.max_target
        target, _ = self.tokenizer.encode(equation, maxlen=self.config.max_target + 1)
        return self.tokenizer.encode(question, maxlen=maxlen)[0], target[1:], numbers

    def source(self, question):
        """Token ids of a question, and its numbers for `equation`."""
        source, _, numbers = self.read(question)
        return source, numbers

    def equation(self, token_ids, numbers):
        """The equation that the model wrote, with the numbers of its question."""
        text = self.tokenizer.decode(token_ids).replace(" ", "")
        try:
            return unmask_numbers(text, numbers)
        except equations.EquationError:
            return text  # has a mark of no number, so it is no equation

    def __call__(self, problem):
        source, target, _ = self.read(problem["question"], problem["equation"])
        return seq2seq.arrays(source, target)


def resample(problem, rng):
    """The problem with other numbers, or as it is where that cannot be done consistently."""
    names = ("question", "equation", "answer")
    changed = equations.resample_numbers(*(problem[name] for name in names), rng)
    return problem if changed is None else {**problem, **dict(zip(names, changed, strict=True))}


# ---- decoding


class Solver:
    """Writes the equations of questions by beam search, many at once."""

    def __init__(self, model, encoder):
        self.encoder = encoder
        self.generator = Generator(model, encoder.tokenizer.end_id, encoder.config.max_target)

    def equations(self, questions, topk, progress=False):
        """The equations of the questions, as strings."""

        def solved(questions):
            sources, numbers = zip(*map(self.encoder.source, questions), strict=True)
            found = self.generator.beam_search(list(sources), topk=topk)
            return map(self.encoder.equation, (best[0] for best, *_ in found), numbers)

        return by_length(solved, questions, progress=progress)


# ---- evaluation and use


def evaluate(solver, valid, topk, samples=None, show=0, progress=False):
    """Share of problems whose equation has the right value, for every held-out set."""
    figures = {}
    for name, problems in valid.items():
        problems = problems[: samples or None]
        found = solver.equations([p["question"] for p in problems], topk, progress=progress)
        right = [equations.equal(e, p["answer"]) for e, p in zip(found, problems, strict=True)]
        figures[f"{name}_accuracy"] = sum(right) / len(right)
        for problem, equation, ok in list(zip(problems, found, right, strict=True))[:show]:
            print(f"  {'✓' if ok else '✗'} {problem['question']}")
            print(f"      {equation}   (gold: {problem['equation']} = {problem['answer']})")
    return figures


def normal(question):
    """A question as those of training were normalized."""
    normalized = equations.normalize(question, "x=0", "0")
    return question if normalized is None else normalized[0]


def solve(solver, question, topk):
    """Prints equation and answer of one question."""
    question = normal(question)
    equation = solver.equations([question], topk)[0]
    print(f"{question}\n  {equation}")
    try:
        print(f"  = {answer_text(question, equation)}")
    except equations.EquationError as error:
        print(f"  no answer: {error}")


def predict(solver, path, topk):
    """Writes the equation and answer of every line of `path`; the result appears when complete."""
    questions = [text for _, _, (text,) in read_objects(path, ("original_text",))]
    target, rows = path.with_suffix(".predictions.jsonl"), []
    found = solver.equations([*map(normal, questions)], topk, progress=True)
    for question, equation in zip(questions, found, strict=True):
        try:
            answer = answer_text(question, equation)
        except equations.EquationError:
            answer = None
        rows.append({"original_text": question, "equation": equation, "ans": answer})
    write_rows(target, rows)
    print(f"{len(questions)} equations in {target}")


# ---- main


def main(config):
    check(config)
    if config.solve is not None or config.predict is not None:
        config = config.as_trained(FREE)
        tokenizer, model = seq2seq.load_trained(config)
        solver = Solver(model, Encoder(tokenizer, config))
        if config.solve is not None:
            solve(solver, config.solve, config.beams[-1])
        if config.predict is not None:
            predict(solver, config.predict, config.beams[-1])
        return
    problems, valid = load_samples(config, datasets.load_ape210k, ["question"])
    print(sizes_of(problems, valid))
    marked = config.numbers == "marks"
    texts = [MARKS * marked, *(p[name] for p in problems for name in ("question", "equation"))]
    tokenizer, model = seq2seq.prepare(config, texts)
    solver = Solver(model, Encoder(tokenizer, config))
    seq2seq.train(
        model,
        config,
        problems,
        solver.encoder,
        evaluate=lambda: evaluate(solver, valid, config.beams[0], config.evaluate_samples, show=3),
        monitor=f"{next(reversed(valid))}_accuracy",
        augment=resample if config.resample and not marked else None,
        free=FREE,
    )
    for topk in config.beams:
        for name, figure in evaluate(solver, valid, topk, progress=True).items():
            print(f"beam {topk}: {name} {figure:.2%}")


if __name__ == "__main__":
    command(Config, main)
