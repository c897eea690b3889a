"""Word problems to equations: Seq2Seq with one BERT and the UniLM mask.

Task: read a school problem in Chinese, write the equation, evaluate it exactly.
Data: `data/math_problems_*.jsonl` (made by this project); any file in ape210k's format.
Published: 71.85 / 72.35 % of valid / test right with a BERT base on 200k problems, beam 3.
Our results, with their commands: README.md, section Results.
Article: https://kexue.fm/archives/7809; data: https://arxiv.org/abs/2009.11506

    python recipes/ape210k.py                               # a small model, some minutes
    python recipes/ape210k.py --solve "小明有5个苹果，又买了3个，共有多少个？"
    python recipes/ape210k.py --predict problems.jsonl      # -> problems.predictions.jsonl
    python recipes/ape210k.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train train.ape.json --valid valid.ape.json --learning-rate 2e-5 --epochs 25
"""

import dataclasses
import json
import math
import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import Literal

import tyro

from kexue_keras import datasets, equations
from kexue_keras.decoding import Generator
from kexue_keras.equations.marks import MARKS, mask_numbers, unmask_numbers
from kexue_keras.experiments import seq2seq
from kexue_keras.experiments.comparison import check_least
from kexue_keras.experiments.seq2seq import Options
from kexue_keras.files import replacing

DATA = Path(__file__).resolve().parent.parent / "data"


@dataclasses.dataclass
class Config(Options):
    """Trains a Seq2Seq model on word problems, or resumes; then evaluates the best weights."""

    train: tuple[Path, ...] = (DATA / "math_problems_train.jsonl",)
    """Files of training problems."""
    valid: tuple[Path, ...] = (DATA / "math_problems_valid.jsonl",)
    """Files of held-out problems; their texts are dropped from the training problems."""
    hold_out: int = 0
    """How many problems of the last training file to hold out as one more validation set."""
    epochs: int = 16
    """Passes over the training problems."""
    resample: bool = True
    """Draw new numbers for question and equation in every epoch."""
    numbers: Literal["digits", "marks", "wordpiece"] = "digits"
    """Numbers digit by digit; as marks that say which number of the question stands where, so that
    `resample` has no effect; or as WordPiece cuts them, as in the article."""
    beams: tuple[int, ...] = (1, 3)
    """Beam sizes of the final evaluation; the first one also decodes after every epoch."""
    evaluate_samples: int = 300
    """Problems of each held-out set that are decoded after an epoch; all are at the end."""
    output: Path = Path("runs/ape210k")
    """Directory of the run; the same command continues an interrupted run."""
    predict: Path | None = None
    """JSON lines with `original_text`; writes the equations beside it, with the best weights."""
    solve: str | None = None
    """A question to solve with the best weights."""


# ---- data


def load_problems(config):
    """Training problems, and the held-out sets by name."""
    name = config.train[-1].stem.split(".")[0] + "_held_out" if config.train else ""
    valid = seq2seq.load_valid(config.valid, datasets.load_ape210k, config.hold_out, name)
    train = [datasets.load_ape210k(path) for path in config.train]
    if config.hold_out:
        rest = len(train[-1]) - config.hold_out
        sizes = (rest, config.hold_out)
        train[-1], valid[name] = datasets.split(train[-1], sizes, key=lambda p: p["question"])
    held_out = {problem["question"] for problems in valid.values() for problem in problems}
    kept = [p for problems in train for p in problems if p["question"] not in held_out]
    for name, problems in {"train": kept, **valid}.items():
        if not problems:
            raise ValueError(f"`train` and `valid` must have usable problems. Received: {name}")
    return kept, valid


class Encoder:
    """Problems to arrays: `[CLS] question [SEP] equation [SEP]` and where its targets stand."""

    def __init__(self, tokenizer, config):
        self.tokenizer = tokenizer
        self.config = config

    def spell(self, text):
        """Spaces around what shall be a token of its own."""
        if self.config.numbers == "wordpiece":
            return text
        return re.sub(rf"([0-9{MARKS}])", r" \1 ", text)

    def mask(self, question, equation=""):
        if self.config.numbers != "marks":
            return question, equation, []
        return mask_numbers(question, equation)

    def source(self, question):
        """Token ids of a question, and its numbers for `equation`."""
        question, _, numbers = self.mask(question)
        return self.question_ids(question), numbers

    def question_ids(self, question):
        """Token ids of a question whose numbers are as the model reads them."""
        maxlen = self.config.maxlen - self.config.max_target
        return self.tokenizer.encode(self.spell(question), maxlen=maxlen)[0]

    def equation(self, token_ids, numbers):
        """The equation that the model wrote, with the numbers of its question."""
        text = self.tokenizer.decode(token_ids).replace(" ", "")
        try:
            return unmask_numbers(text, numbers)
        except equations.EquationError:
            return text  # has a mark of no number, so it is no equation

    def __call__(self, problem):
        question, equation, _ = self.mask(problem["question"], problem["equation"])
        target, _ = self.tokenizer.encode(self.spell(equation))
        if len(target) - 1 > self.config.max_target:
            target = target[: self.config.max_target] + [self.tokenizer.end_id]
        return seq2seq.arrays(self.question_ids(question), target[1:])


def resample(problem, rng):
    """The problem with other numbers, or as it is where that cannot be done consistently."""
    names = ("question", "equation", "answer")
    changed = equations.resample_numbers(*(problem[name] for name in names), rng)
    return problem if changed is None else {**problem, **dict(zip(names, changed, strict=True))}


# ---- decoding and evaluation


class Solver:
    """Writes the equations of questions by beam search, many at once."""

    def __init__(self, model, encoder):
        self.encoder = encoder
        end_id = encoder.tokenizer.end_id
        self.generator = Generator(model, end_id=end_id, maxlen=encoder.config.max_target)

    def equations(self, questions, topk, batch_size=32, progress=False):
        """The equations of the questions, as strings."""
        order = sorted(range(len(questions)), key=lambda i: len(questions[i]))
        solved = [""] * len(questions)
        for start in seq2seq.progress_bar(range(0, len(order), batch_size), progress):
            chosen = order[start : start + batch_size]
            sources, numbers = zip(
                *(self.encoder.source(questions[i]) for i in chosen), strict=True
            )
            found = self.generator.beam_search(list(sources), topk=topk)
            for i, of_question, results in zip(chosen, numbers, found, strict=True):
                solved[i] = self.encoder.equation(results[0][0], of_question)
        return solved


def evaluate(solver, valid, topk, samples=None, show=0, progress=False):
    """Share of problems whose equation has the right value, for every held-out set."""
    figures = {}
    for name, problems in valid.items():
        problems = problems[: samples or None]
        questions = [problem["question"] for problem in problems]
        found = solver.equations(questions, topk, progress=progress)
        right = [
            equations.equal(equation, problem["answer"])
            for equation, problem in zip(found, problems, strict=True)
        ]
        figures[f"{name}_accuracy"] = sum(right) / len(right)
        for problem, equation, ok in list(zip(problems, found, right, strict=True))[:show]:
            print(f"  {'✓' if ok else '✗'} {problem['question']}")
            print(f"      {equation}   (gold: {problem['equation']} = {problem['answer']})")
    return figures


def answer_text(question, equation):
    """The answer as a pupil would write it: fraction, decimal, percent or whole number."""
    value = equations.evaluate(equation)
    if "百分之几" in question:
        return f"{_float(value * 100):g}%"
    if re.search("多少[辆人个只箱棵条]|几[辆人个只箱棵条]", question) and value.denominator != 1:
        return str(
            math.floor(value) if "至多" in question or "最多" in question else math.ceil(value)
        )
    if "." in equation:
        return f"{_float(value):.10g}"
    return str(Fraction(value))


def _float(value):
    try:
        return float(value)
    except OverflowError as error:
        raise equations.EquationError(f"the answer is too large for a decimal: {error}") from error


def normal(question):
    """A question as those of training were normalized."""
    normalized = equations.normalize(question, "x=0", "0")
    return question if normalized is None else normalized[0]


def solve(solver, question, topk):
    question = normal(question)
    equation = solver.equations([question], topk)[0]
    print(f"{question}\n  {equation}")
    try:
        print(f"  = {answer_text(question, equation)}")
    except equations.EquationError as error:
        print(f"  no answer: {error}")


def predict(solver, path, topk):
    """Writes the equation and answer of every line of `path`; the result appears when complete."""
    questions = [text for _, _, (text,) in datasets.read_objects(path, ("original_text",))]
    target = path.with_suffix(".predictions.jsonl")
    found = solver.equations([*map(normal, questions)], topk, progress=True)
    with replacing(target) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for question, equation in zip(questions, found, strict=True):
            try:
                answer = answer_text(question, equation)
            except equations.EquationError:
                answer = None
            row = {"original_text": question, "equation": equation, "ans": answer}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"{len(questions)} equations in {target}")


# ---- main


def train(config, model, encoder, problems, valid, solver):
    seq2seq.train(
        model,
        config,
        problems,
        encoder,
        evaluate=lambda: evaluate(solver, valid, config.beams[0], config.evaluate_samples, show=3),
        monitor=f"{next(reversed(valid))}_accuracy",
        augment=resample if config.resample and config.numbers != "marks" else None,
        may_change=("predict", "solve", "beams", "evaluate_samples"),
    )
    for topk in config.beams:
        for name, figure in evaluate(solver, valid, topk, progress=True).items():
            print(f"beam {topk}: {name} {figure:.2%}")


def main(config):
    check_least(config, beams=1, evaluate_samples=0)
    asks = config.solve is not None or config.predict is not None
    if asks:
        best, config = config.best_path, config.as_trained("numbers")
    problems, valid = ([], {}) if asks else load_problems(config)
    texts = [MARKS] * (config.numbers == "marks")
    texts += [text for p in problems for text in (p["question"], p["equation"])]
    tokenizer, keep_tokens = seq2seq.load_tokenizer(config, texts)
    model = seq2seq.build_model(config, tokenizer, keep_tokens)
    encoder = Encoder(tokenizer, config)
    solver = Solver(model, encoder)
    if not asks:
        sizes = {name: len(held_out) for name, held_out in valid.items()}
        print(f"{len(problems)} training problems; held out: {sizes}")
        train(config, model, encoder, problems, valid, solver)
        return
    model.load_weights(best)
    if config.solve is not None:
        solve(solver, config.solve, config.beams[-1])
    if config.predict is not None:
        predict(solver, config.predict, config.beams[-1])


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command continues after the last complete epoch")
