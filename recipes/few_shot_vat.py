"""Few labels, many texts: plain training, adversarial training, gradient penalty, VAT.

Task: is a review good or bad? Few reviews have labels. Adversarial training and the gradient
penalty make the loss smooth around them; virtual adversarial training makes the prediction smooth,
around texts without labels, too.
Data: `data/reviews_*` and the small BERT in `data/small_zh` (made by this project); any
`text TAB label` file with the labels 0 and 1.
Published (BERT base, 200 labels of about 20,000 reviews): 88.93 % (valid), 89.34 (test) without
VAT; 89.83, 90.37 with it.
Our results, with their commands: recipes/README.md.
Article: https://kexue.fm/archives/7466; paper: https://arxiv.org/abs/1704.03976

    python recipes/few_shot_vat.py                          # our reviews, about two minutes
    python recipes/few_shot_vat.py --seeds 0 1 2
    python recipes/few_shot_vat.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train sentiment/train.tsv --valid sentiment/valid.tsv --learning-rate 2e-5
"""

import dataclasses
import functools
from pathlib import Path

from kexue_keras.experiments.command import AFTER_A_CELL, command

import keras
import numpy as np

from kexue_keras import datasets, training
from kexue_keras.experiments.buckets import buckets
from kexue_keras.experiments.comparison import compare_methods
from kexue_keras.experiments.few_shot import draw_labelled
from kexue_keras.experiments.fitting import Snapshot, compile_model, fit_to_zero_rate
from kexue_keras.experiments.held_out import load_samples
from kexue_keras.experiments.options import DATA, Files, SmallBert, Table, UsageError, check
from kexue_keras.experiments.prediction import predict
from kexue_keras.experiments.pretrained import load_classifier, load_tokenizer
from kexue_keras.experiments.tables import Figure

METHODS = ("plain", "adversarial", "penalty", "vat")
FREE = ("output", "seeds", "methods")  # options that the cells do not depend on
EMBEDDING = "Embedding-Token"


@dataclasses.dataclass
class Config(Table, SmallBert, Files):
    """Prints the table of methods; what is measured already is not measured again."""

    train: tuple[Path, ...] = (DATA / "reviews_train.tsv",)
    valid: tuple[Path, ...] = (DATA / "reviews_valid.tsv",)
    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (0,)
    labelled: int = 64
    """Training texts that keep their labels, drawn anew for every seed; the others have none."""
    epochs: int = 6
    """Passes over the labelled texts; VAT sees as many texts without labels beside them."""
    batch_size: int = 16
    """Labelled texts in a batch."""
    learning_rate: float = 1e-4
    """Adam's at the start, falling to zero; the article takes 2e-5 for a BERT base."""
    epsilon: float = 1.0
    """Length of the perturbation of `vat`; that of `adversarial` is half of it, as published."""
    xi: float = 10.0
    """Length of the trial move of power iteration."""
    penalty: float = 1.0
    """Weight of the gradient penalty."""
    output: Path = Path("runs/few_shot_vat")


# ---- data


def load_data(config):
    """Training and held-out reviews, `(text, label)`, that have no text in common."""
    train, valid = load_samples(config, datasets.load_sentiment, [lambda sample: sample[0]])
    valid = sum(valid.values(), [])
    if labels := {label for _, label in train + valid} - {0, 1}:
        raise UsageError(f"`train` and `valid` must have the labels 0 and 1. Received: {labels}")
    if not 2 <= config.labelled <= len(train):
        raise UsageError(
            f"`labelled` must be from 2 to {len(train)}, the training texts that are not held out. "
            f"Received: {config.labelled}"
        )
    return train, valid


# ---- models


class Classifier:
    """The pretrained BERT with a new layer on [CLS], in the strategy of one method.

    It is built and compiled once; `train` begins from the pretrained weights every time.
    """

    def __init__(self, config, method):
        self.config, self.method = config, method
        self.tokenizer = load_tokenizer(config)
        self.lengths = buckets(config.maxlen, step=32)
        model = load_classifier(config, 2)
        if method == "adversarial":
            model = training.AdversarialTraining(model, EMBEDDING, 0.5 * config.epsilon)
        elif method == "penalty":
            model = training.GradientPenalty(model, EMBEDDING, config.penalty)
        elif method == "vat":
            model = training.VirtualAdversarialTraining(model, EMBEDDING, config.epsilon, config.xi)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        compile_model(model, loss, config.learning_rate)
        self.model, self.start = model, Snapshot(model)

    def train(self, labelled, texts, seed):
        """Trains on `(text, label)`; VAT on a text of `texts` beside each of them."""
        rng, mixed = np.random.default_rng(seed), self.method == "vat" and bool(texts)
        self.start.restore(rng)
        kernel = next(
            w for w in self.model.trainable_variables if w.path.startswith("Label/kernel")
        )
        kernel.assign(rng.normal(0, 0.02, kernel.shape))
        samples = labelled + [(texts[0], None)] * len(labelled) if mixed else labelled

        def draw(sample, rng):
            return sample if sample[1] is not None else (rng.choice(texts), None)

        def encode(sample):
            text, label = sample
            inputs = self.tokenizer.encode(text, maxlen=self.config.maxlen)
            # the mean of a batch runs over all its texts: over the labelled ones with weight 2
            weight = 1.0 if not mixed else 2.0 if label is not None else 0.0
            return tuple(inputs), label or 0, weight

        batches = datasets.Batches(
            samples,
            encode,
            self.config.batch_size * (2 if mixed else 1),
            self.lengths,
            seed=seed,
            augment=draw if mixed else None,
            drop_remainder=True,
        )
        rate, epochs = self.config.learning_rate, self.config.epochs
        fit_to_zero_rate(self.model, batches, rate, epochs)

    def scores(self, texts):
        """How much rather "good" than "bad", a number for each text."""
        rows = [self.tokenizer.encode(text, maxlen=self.config.maxlen) for text in texts]
        logits = predict(self.model, rows, self.lengths)
        return logits[:, 1] - logits[:, 0]


# ---- evaluation


def measure(classifiers, train, valid, experiment, method, seed):
    """Accuracy on the held-out reviews of one method with one seed."""
    classifier = classifiers(method)
    labelled, others = draw_labelled(train, classifier.config.labelled, seed)
    classifier.train(labelled, [text for text, _ in others], seed)
    texts, labels = zip(*valid, strict=True)
    right = (classifier.scores(texts) > 0) == np.array(labels, bool)
    for text, good in list(zip(texts, right, strict=True))[:3]:
        print(f"  {'✓' if good else '✗'} {text[:60]}")
    return {"accuracy": right.mean()}


# ---- main


def main(config):
    check(config, methods=METHODS, epsilon=0, penalty=0, xi=1e-6, labelled=2)
    train, valid = load_data(config)
    print(f"{len(train)} training texts, {config.labelled} labelled; {len(valid)} held out")
    shown = {"accuracy": Figure(f"right of {len(valid)}, %")}
    classifiers = functools.lru_cache(maxsize=1)(functools.partial(Classifier, config))
    measured = functools.partial(measure, classifiers, train, valid)
    compare_methods(config, FREE, measured, shown)


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
