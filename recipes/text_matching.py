"""Do two sentences mean the same? CoSENT, Sentence-BERT and interaction models, in one table.

Task: a score for a pair of sentences that orders pairs as their labels do.
Methods: `cosent`, the cosine of two [CLS] vectors under a ranking loss; `sbert`, a classifier of
(u, v, |u - v|), of which the cosine of u and v is used afterwards; `interact`, both sentences read
together and classified; `interact_cosent`, read together under the ranking loss.
Graded labels: `sbert` classifies whether a grade is in the upper half, as the article's code does;
`interact` is a regression, the sigmoid of one score.
Data: `data/sentence_pairs_*` and the small BERT in `data/small_zh` (made by this project); any file
of lines `first TAB second TAB label`, with 0 and 1 (AFQMC, LCQMC) or grades (STS-B).
Published, Spearman x 100, BERT base: LCQMC 78.69 (cosent), 78.72 (sbert); STS-B 80.14, 66.41.
Our results, with their commands: recipes/README.md.
Articles: https://kexue.fm/archives/8847, https://kexue.fm/archives/8860 (accuracy, interaction)

    python recipes/text_matching.py      # (pip install -e ".[similarity]") our pairs, 3 seeds
    python recipes/text_matching.py --compare 怎么开通云备份 云备份在哪里打开
    python recipes/text_matching.py --train lcqmc_dev.tsv --valid --hold-out 0.2
    python recipes/text_matching.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train stsb/train.tsv --valid stsb/valid.tsv --learning-rate 2e-5 --epochs 5
"""

import dataclasses
import functools
from pathlib import Path

from kexue_keras.experiments.command import AFTER_A_CELL, command

import keras
import numpy as np

from kexue_keras import backend, datasets, layers
from kexue_keras.experiments.buckets import buckets
from kexue_keras.experiments.comparison import compare_methods
from kexue_keras.experiments.fitting import train_to_zero_rate
from kexue_keras.experiments.held_out import load_samples
from kexue_keras.experiments.options import DATA, HeldOut, SmallBert, Table, UsageError, check
from kexue_keras.experiments.prediction import predict
from kexue_keras.experiments.pretrained import load_bert, load_tokenizer
from kexue_keras.experiments.tables import Figure
from kexue_keras.experiments.weights import keep_best, trained_weights
from kexue_keras.losses import CoSENT
from kexue_keras.metrics import optimal_threshold, spearman

METHODS = ("cosent", "sbert", "interact", "interact_cosent")
FREE = ("output", "seeds", "methods", "compare")  # options that the cells do not depend on
FIGURES = {
    "spearman": Figure("Spearman x 100"),
    "accuracy": Figure("accuracy, %"),
    "accuracy_same": Figure("accuracy with the same pairs' threshold, %"),
}


@dataclasses.dataclass
class Config(Table, SmallBert, HeldOut):
    """Prints the table methods x figures; what is measured already is not measured again."""

    train: tuple[Path, ...] = (DATA / "sentence_pairs_train.tsv",)
    valid: tuple[Path, ...] = (DATA / "sentence_pairs_valid.tsv",)
    limit: int = 0
    """Training pairs, always the same ones; 0: all."""
    methods: tuple[str, ...] = METHODS
    epochs: int = 5
    batch_size: int = 32
    """Pairs in a batch; the ranking loss compares the pairs of a batch with each other."""
    learning_rate: float = 2e-4
    """Adam's at the start, falling to zero; the article takes 2e-5 for a BERT base."""
    maxlen: int = 64
    """Largest number of tokens of a sentence; a pair read together has twice as many."""
    scale: float = 20.0
    """Factor of the cosines in the ranking loss; scores of `interact_cosent` need none."""
    compare: tuple[str, str] | None = None
    """Only scores these two sentences, by every method that has weights in `output`."""
    output: Path = Path("runs/text_matching")


# ---- data


def load_data(config):
    """Training pairs and held-out pairs, `(first, second, label)`; none is in both, nor are pairs
    of the same first sentence that `hold_out` holds out."""
    same, first = [lambda pair: frozenset(pair[:2])], lambda pair: pair[0]
    train, valid = load_samples(config, datasets.load_pairs, same, first, first=True)
    valid = sum(valid.values(), [])
    for name, pairs in (("train", train), ("valid", valid)):
        if len({label for _, _, label in pairs}) < 2:
            raise UsageError(f"`{name}` must have different labels. Received: {len(pairs)} pairs")
    return train, valid


def is_binary(labels):
    """Whether labels are 0 and 1, not grades."""
    return set(labels) == {0, 1}


# ---- models


class Matcher:
    """A model of one method with new layers on the pretrained BERT.

    Args:
        config: `Config`.
        method: one of `METHODS`.
        labels: all different labels of the training pairs, ascending.
        seed: of the new layers and of training.
    """

    def __init__(self, config, method, labels, seed):
        keras.utils.set_random_seed(seed)
        self.config, self.method, self.seed = config, method, seed
        self.tokenizer = load_tokenizer(config)
        self.labels = list(labels)
        self.together = method.startswith("interact")
        self.lengths = buckets(config.maxlen * (2 if self.together else 1))
        inputs, trained, score, self.loss = self._build()
        self.model, self.scorer = keras.Model(inputs, trained), keras.Model(inputs, score)
        self.scorer.compile(None, jit_compile=backend.train_with_xla())

    def _build(self):
        """Inputs, the output to train, the score, and the loss."""
        bert = load_bert(self.config)
        classify = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        first = layers.FirstToken(name="First")
        if self.together:
            vector = first(bert.output)
            if self.method == "interact" and is_binary(self.labels):
                logits = keras.layers.Dense(2, name="Label")(vector)
                return bert.inputs, logits, logits[:, 1:] - logits[:, :1], classify
            score = keras.layers.Dense(1, name="Score")(vector)
            regress = keras.losses.BinaryCrossentropy(from_logits=True)
            return bert.inputs, score, score, regress if self.method == "interact" else CoSENT(1.0)
        inputs = [keras.Input((None,), dtype="int32", name=name) for name in ("Input-1", "Input-2")]
        u, v = (first(bert([x, keras.ops.zeros_like(x)])) for x in inputs)
        cosine = keras.layers.Dot(1, normalize=True, dtype="float32", name="Cosine")([u, v])
        if self.method == "cosent":
            return inputs, cosine, cosine, CoSENT(self.config.scale)
        features = keras.ops.concatenate([u, v, keras.ops.abs(u - v)], axis=-1)
        logits = keras.layers.Dense(2, name="Label")(features)
        return inputs, logits, cosine, classify

    def encode(self, first, second):
        """The two inputs of the model."""
        maxlen = self.config.maxlen
        if self.together:
            # one segment, as in the article's code: a BERT without next-sentence training knows
            # no other
            ids, _ = self.tokenizer.encode(first, second, maxlen=2 * maxlen)
            return ids, [0] * len(ids)
        return tuple(self.tokenizer.encode(text, maxlen=maxlen)[0] for text in (first, second))

    def target(self, label):
        """What the loss compares the output with."""
        if self.method == "sbert":
            return int(label > (self.labels[0] + self.labels[-1]) / 2)
        if self.method == "interact" and is_binary(self.labels):
            return int(label)
        if self.method == "interact":
            return (label - self.labels[0]) / (self.labels[-1] - self.labels[0])
        return float(label)

    def train(self, pairs):
        """Adam with a learning rate that falls to zero; the last weights count."""

        def encode(pair):
            return self.encode(*pair[:2]), self.target(pair[2])

        arguments = self.model, self.loss, pairs, encode, self.lengths, self.seed
        train_to_zero_rate(self.config, *arguments)

    def scores(self, pairs):
        """One number for each pair, float64; the larger, the more similar."""
        rows = [self.encode(*pair[:2]) for pair in pairs]
        return predict(self.scorer, rows, self.lengths)[:, 0].astype("float64")


# ---- evaluation


def measures(labels, scores):
    """Spearman's correlation; for labels 0 and 1 also accuracies.

    `accuracy` is honest: the threshold for either half of the pairs is the other half's best one.
    `accuracy_same` is the article's, with the best threshold of the very pairs it is measured on.
    """
    labels, scores = np.asarray(labels, "float64"), np.asarray(scores, "float64")
    figures = {"spearman": spearman(labels, scores)}
    if is_binary(labels):
        right = 0
        halves = datasets.split(range(len(labels)), (0.5, 0.5))
        for half, other in (halves, halves[::-1]):
            threshold, _ = optimal_threshold(labels[other], scores[other])
            right += int(((scores[half] > threshold) == labels[half]).sum())
        figures["accuracy"] = right / len(labels)
        figures["accuracy_same"] = optimal_threshold(labels, scores)[1]
    return figures


def measure(config, train, valid, experiment, method, seed):
    """Trains one method with one seed; keeps the weights if no other seed's are better."""
    labels = sorted({label for _, _, label in train})
    keras.backend.clear_session()
    matcher = Matcher(config, method, labels, seed)
    matcher.train(train)
    scores, truth = matcher.scores(valid), [label for _, _, label in valid]
    figures = measures(truth, scores)
    threshold = optimal_threshold(truth, scores)[0] if is_binary(truth) else None
    for (first, second, label), score in list(zip(valid, scores, strict=True))[:3]:
        mark = "" if threshold is None else "✓ " if (score > threshold) == label else "✗ "
        print(f"  {mark}{first} | {second} | label {label:g}, score {score:.3f}")
    best = experiment.best("spearman", method=method)
    known = {"labels": labels, "threshold": threshold, "seed": seed}
    keep_best(config, FREE, method, matcher.scorer, figures["spearman"], best, **known)
    return figures


def compare(config):
    """Prints the scores of one pair, by all methods that have weights."""
    for path, known, trained in trained_weights(config, FREE):
        matcher = Matcher(trained, known["method"], known["labels"], known["seed"])
        matcher.scorer.load_weights(path)
        score, threshold = matcher.scores([config.compare])[0], known["threshold"]
        line = f"{known['method']}: {score:.4f}"
        if threshold is not None:
            same = "the same" if score > threshold else "not the same"
            line += f", {same} (threshold {threshold:.4f})"
        print(line)


# ---- main


def main(config):
    check(config, methods=METHODS)
    if config.compare is not None:
        compare(config)
        return
    train, valid = load_data(config)
    print(f"{len(train)} training pairs, {len(valid)} held out")
    compare_methods(config, FREE, functools.partial(measure, config, train, valid), FIGURES)
    if is_binary(label for _, _, label in valid):
        print("accuracy: with the best threshold of the other half of the held-out pairs")


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
