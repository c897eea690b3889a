"""What counts, optimized directly: answers that are right, ROUGE-L, the F1 of a rare class.

Task `math`: word problems to equations; the reward of an equation that the model draws is whether
its value is the answer. `questions`: a question for a passage and its answer, rewarded by ROUGE-L.
`classifier`: macro F1 of a bag of characters on reviews, of which one class is made rare.
Methods: every one goes on from the same short training by cross-entropy. `crossentropy` goes on
with it for as many steps; `reward` takes `SampledSequences`, the policy gradient on sequences.
Of the classifier, `policy_gradient` has a hit for its reward that weighs as its class is rare,
`zeroth_order` moves the last layer alone by the batch's F1, `parameter_search` (MGS) weighs
candidates around the steps of the cross-entropy by the batch's F1.
Data: `data/math_problems_*`, `data/passages_*`, `data/reviews_*` (made by this project).
Published: no figures in the articles. Our results, with their commands: recipes/README.md.
Articles: https://kexue.fm/archives/7737, https://kexue.fm/archives/7521 (MGS)

    python recipes/direct_optimization.py                              # the classifier, a minute
    python recipes/direct_optimization.py --optimize math --epochs 6       # some minutes
    python recipes/direct_optimization.py --optimize questions --epochs 6
"""

import dataclasses
from pathlib import Path
from typing import Literal

from kexue_keras.experiments.command import AFTER_A_CELL, command

import keras
import numpy as np

from kexue_keras import backend, datasets, equations, training
from kexue_keras.datasets.pieces import piece_with_answer
from kexue_keras.decoding import Generator
from kexue_keras.experiments import pretrained, seq2seq
from kexue_keras.experiments.buckets import buckets
from kexue_keras.experiments.comparison import compare_methods
from kexue_keras.experiments.fitting import compile_model, fit
from kexue_keras.experiments.held_out import load_samples
from kexue_keras.experiments.options import DATA, Files, NewModel, Table, check
from kexue_keras.experiments.prediction import by_length
from kexue_keras.experiments.tables import Figure
from kexue_keras.losses import SequenceCrossentropy
from kexue_keras.metrics import rouge_l

WRITERS = ("crossentropy", "reward")
CLASSIFIERS = ("crossentropy", "policy_gradient", "zeroth_order", "parameter_search")
# of a task: its files, its methods, what is measured
TASKS = {
    "math": ("math_problems_{}.jsonl", WRITERS, "answers right, %"),
    "questions": ("passages_{}.json", WRITERS, "ROUGE-L, %"),
    "classifier": ("reviews_{}.tsv", CLASSIFIERS, "macro F1, %"),
}
FREE = ("output", "seeds", "methods")  # options that the cells do not depend on


@dataclasses.dataclass
class Config(Table, NewModel, Files):
    """Prints the table methods x figures; what is measured already is not measured again."""

    optimize: Literal["math", "questions", "classifier"] = "classifier"
    """What to optimize; it has its own files and methods where none are given."""
    epochs: int = 20
    """Passes by cross-entropy before the methods part; 6 are enough for texts."""
    learning_rate: float = 2e-3
    """Adam's, of these passes."""
    fine_rate: float | None = None
    """Adam's after them; None: 2e-3 for the classifier, else 2e-4."""
    rounds: int = 30
    """Passes of the classifier's methods, or rounds of sampled texts."""
    prompts: int = 32
    """Prompts in a round."""
    texts: int = 8
    """Texts sampled for a prompt; a round is two steps."""
    samples: int = 16
    """Classes drawn for an example, directions, or candidates, in a step of the classifier."""
    rare: float = 0.1
    """Share of the positive training reviews that is kept, and weight of the held-out ones."""
    characters: int = 16
    """How much of a review is read."""
    hidden_size: int = 64
    maxlen: int = 96
    max_target: int = 32
    """Largest number of tokens that the model writes."""
    limit: int = 1000
    """Training samples, 0: all."""
    evaluate_samples: int = 0
    """Held-out samples that are decoded, 0: all."""
    output: Path = Path("runs/direct_optimization")


# ---- texts: problems and questions


class Writing:
    """Trains a small UniLM on texts, then goes on with a method."""

    def __init__(self, config):
        self.config = config
        self.train, valid = load_samples(config, self.load, self.same)
        self.valid = next(iter(valid.values()))[: config.evaluate_samples or None]
        texts = [self.texts(sample) for sample in self.train]
        self.tokenizer, _ = seq2seq.load_tokenizer(
            config, [text for source, target in texts for text in (*source, target)]
        )
        self.started = {}

    def encode(self, sample):
        source, target = self.texts(sample)
        ids = self.tokenizer.encode(*source, maxlen=self.config.maxlen - self.config.max_target)[0]
        end = self.tokenizer.encode(target, maxlen=self.config.max_target + 1)[0][1:]
        return seq2seq.arrays(ids, end)

    def prompt(self, sample):
        (ids, _, positions), _ = self.encode(sample)
        return ids[: positions[0] + 1]

    def batches(self, seed):
        lengths = buckets(self.config.maxlen)
        return datasets.Batches(
            self.train, self.encode, self.config.batch_size, lengths, seed=seed, drop_remainder=True
        )

    def start(self, seed):
        """A model after the first passes, its generator, and its figures; trained once a seed."""
        keras.utils.set_random_seed(seed)
        model = pretrained.new_model(self.config, self.tokenizer.vocab_size, **seq2seq.UNILM)
        generator = Generator(model, self.tokenizer.end_id, self.config.max_target)
        if seed not in self.started:
            compile_model(model, SequenceCrossentropy(), self.config.learning_rate)
            fit(model, self.batches(seed), self.config.epochs)
            self.started[seed] = model.get_weights(), self.evaluate(generator)
        weights, figures = self.started[seed]
        model.set_weights(weights)
        return model, generator, figures

    def evaluate(self, generator):
        """The mean reward of what greedy search writes for the held-out samples."""
        decode = self.tokenizer.decode

        def written(prompts):
            return [decode(found[0][0]) for found in generator.beam_search(prompts)]

        found = by_length(written, [self.prompt(sample) for sample in self.valid])
        return float(np.mean(list(map(self.reward, self.valid, found))))

    def measure(self, method, seed):
        config = self.config
        model, generator, before = self.start(seed)
        compile_model(model, SequenceCrossentropy(), config.fine_rate)
        rounds = training.SampledSequences(
            generator,
            [self.prompt(sample) for sample in self.train],
            lambda index, ids: self.reward(self.train[index], self.tokenizer.decode(ids)),
            n=config.texts,
            batch_size=config.prompts * config.texts // 2,
            prompts_per_round=min(config.prompts, len(self.train)),
            seed=seed,
        )
        if method == "reward":
            fit(model, rounds, config.rounds)
        else:  # as many steps
            batches = self.batches(seed + 1)
            fit(model, batches, -(-config.rounds * len(rounds) // len(batches)))
        return {"before": before, "after": self.evaluate(generator)}


class Problems(Writing):
    """Word problems, their numbers as marks: an equation is right if its value is the answer."""

    load, same = staticmethod(datasets.load_ape210k), ["question"]

    def texts(self, sample):
        """What the model reads (in parts) and writes."""
        question, equation, _ = equations.mask_numbers(sample["question"], sample["equation"])
        return [question], equation

    def reward(self, sample, text):
        *_, numbers = equations.mask_numbers(sample["question"], sample["equation"])
        try:
            equation = equations.unmask_numbers(text.replace(" ", ""), numbers)
        except equations.EquationError:
            return 0.0  # has a mark of no number
        return float(equations.equal(equation, sample["answer"]))


class Questions(Writing):
    """Questions for a passage and an answer, by the overlap with the one that was asked."""

    same = ["passage", "question"]

    @staticmethod
    def load(path):
        found = [(piece_with_answer(q, 44), q) for q in datasets.load_qa(path)]
        return [{**q, "passage": p[0], "answer": p[1]} for p, q in found if p is not None]

    def texts(self, sample):
        return [sample["passage"], sample["answer"]], sample["question"]

    def reward(self, sample, text):
        return rouge_l(sample["question"], text)


# ---- the classifier


def macro_f1(labels, classes, weight=1.0):
    """The mean over both classes of F1; positive samples have a weight. A class that is neither
    there nor predicted has 1."""
    weights, values = np.where(labels == 1, weight, 1.0), []
    for c in (0, 1):
        both = np.sum(weights * ((labels == c) & (classes == c)))
        either = np.sum(weights * (labels == c)) + np.sum(weights * (classes == c))
        values.append(2 * both / either if either else 1.0)
    return float(np.mean(values))


class Reviews:
    """A bag of characters, whose positive reviews are rare."""

    def __init__(self, config):
        self.config = config
        train, valid = load_samples(config, datasets.load_sentiment, [lambda sample: sample[0]])
        positive = [sample for sample in train if sample[1] == 1]
        kept = positive[: max(1, round(config.rare * len(positive)))]
        train = [sample for sample in train if sample[1] != 1] + kept
        characters = sorted({c for text, _ in train for c in text})
        self.ids = {c: i + 1 for i, c in enumerate(characters)}
        self.train, self.valid = map(self.arrays, (train, next(iter(valid.values()))))
        self.shares = np.bincount(self.train[1], minlength=2) / len(self.train[1])

    def arrays(self, samples):
        length = self.config.characters
        ids = [[self.ids.get(c, 0) for c in text.ljust(length)[:length]] for text, _ in samples]
        return np.array(ids, "int32"), np.array([label for _, label in samples], "int32")

    def model(self):
        vocabulary, size = len(self.ids) + 1, self.config.hidden_size
        layers = [
            keras.Input((self.config.characters,), dtype="int32"),
            keras.layers.Embedding(vocabulary, size, mask_zero=True, name="characters"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
        return keras.Sequential(layers)

    def around(self, method, model, seed):
        """The model in the method's strategy, and the loss to compile."""
        samples, likelihood = self.config.samples, "sparse_categorical_crossentropy"
        one_less_f1 = training.python_objective(lambda y, p: 1 - macro_f1(y, p.argmax(-1)))
        if method == "policy_gradient":
            gains = (1 / self.shares).astype("float32")

            def reward(y_true, sampled):
                hit = keras.ops.cast(y_true == sampled, "float32")
                return hit * keras.ops.take(gains, y_true)

            return training.PolicyGradient(model, reward, samples=samples, seed=seed), None
        if method == "zeroth_order":
            model.get_layer("characters").trainable = False
            return training.ZerothOrder(model, 0.1, samples, seed=seed), one_less_f1
        if method == "parameter_search":
            options = {"temperature": 0.01, "guide_rate": 10.0, "importance": False, "seed": seed}
            strategy = training.GuidedParameterSearch(model, one_less_f1, samples, **options)
            return strategy, likelihood
        return training.Strategy(model), likelihood

    def measure(self, method, seed):
        config = self.config
        keras.utils.set_random_seed(seed)
        model, (ids, labels) = self.model(), self.train
        options = {"batch_size": 2 * config.batch_size, "verbose": 0}
        compile_model(model, "sparse_categorical_crossentropy", config.learning_rate)
        model.fit(ids, labels, epochs=config.epochs, **options)
        before = self.score(model)
        strategy, loss = self.around(method, model, seed)
        optimizer = keras.optimizers.Adam(config.fine_rate, clipnorm=1.0)
        strategy.compile(optimizer, loss, jit_compile=backend.train_with_xla())
        strategy.fit(ids, labels, epochs=config.rounds, **options)
        return {"before": before, "after": self.score(model)}

    def score(self, model):
        ids, labels = self.valid
        return macro_f1(labels, model.predict_on_batch(ids).argmax(-1), self.config.rare)


# ---- main


def main(config):
    files, methods, score = TASKS[config.optimize]
    classifier = config.optimize == "classifier"
    config = dataclasses.replace(
        config,
        train=config.train or (DATA / files.format("train"),),
        valid=config.valid or (DATA / files.format("valid"),),
        methods=config.methods or methods,
        fine_rate=config.fine_rate or (2e-3 if classifier else 2e-4),
        output=config.output / config.optimize,
    )
    check(config, methods=methods, rounds=1, prompts=1, texts=2, samples=1, characters=1)
    run = {"math": Problems, "questions": Questions, "classifier": Reviews}[config.optimize](config)
    shown = {name: Figure(f"{score}, {name}") for name in ("before", "after")}
    compare_methods(config, FREE, lambda _, method, seed: run.measure(method, seed), shown)


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
