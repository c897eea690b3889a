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
Our results, with their commands: README.md, section Results.
Articles: https://kexue.fm/archives/8847, https://kexue.fm/archives/8860 (accuracy, interaction)

    python recipes/text_matching.py      # (pip install -e ".[similarity]") our pairs, 3 seeds
    python recipes/text_matching.py --compare 怎么开通云备份 云备份在哪里打开
    python recipes/text_matching.py --train lcqmc_dev.tsv --hold-out 0.2
    python recipes/text_matching.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train stsb/train.tsv --valid stsb/valid.tsv --learning-rate 2e-5 --epochs 5
"""

import dataclasses
import functools
import sys
from pathlib import Path

# before keras: it turns on TensorFlow's faster matrix products
from kexue_keras import backend, datasets, layers, models

# isort: split
import keras
import numpy as np
import tyro

from kexue_keras.experiments.comparison import (
    Experiment,
    check_least,
    options_of,
    save_weights,
    summarize,
    trained,
)
from kexue_keras.experiments.fitting import fit_to_zero_rate, load_tokenizer
from kexue_keras.losses import CoSENT
from kexue_keras.metrics import optimal_threshold, spearman

DATA = Path(__file__).resolve().parent.parent / "data"
SMALL = DATA / "small_zh"
METHODS = ("cosent", "sbert", "interact", "interact_cosent")
FREE = ("output", "seeds", "methods", "compare")  # options that the cells do not depend on
FIGURES = {
    "spearman": "Spearman x 100",
    "accuracy": "accuracy, %",
    "accuracy_same": "accuracy with the same pairs' threshold, %",
}


@dataclasses.dataclass
class Config:
    """Prints the table methods x figures; what is measured already is not measured again."""

    train: tuple[Path, ...] = (DATA / "sentence_pairs_train.tsv",)
    """Files of training pairs; those that are held out are dropped."""
    valid: tuple[Path, ...] = (DATA / "sentence_pairs_valid.tsv",)
    """Files of held-out pairs."""
    hold_out: float = 0.0
    """Share of the training pairs to hold out instead of `valid`, always the same ones; pairs of
    the same first sentence stay together."""
    limit: int = 0
    """Training pairs, always the same ones; 0: all."""
    methods: tuple[str, ...] = METHODS
    """Which rows of the table."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of every method for each; the table shows mean and standard deviation."""
    config_path: Path = SMALL / "bert_config.json"
    """Configuration of a pretrained BERT."""
    checkpoint_path: Path = SMALL / "bert_model.npz"
    """Checkpoint of the BERT."""
    dict_path: Path = SMALL / "vocab.txt"
    """Vocabulary of the BERT."""
    epochs: int = 5
    """Passes over the training pairs; the weights after the last one count."""
    batch_size: int = 32
    """Pairs in a batch; the ranking loss compares the pairs of a batch with each other."""
    learning_rate: float = 2e-4
    """Adam's at the start, falling to zero; the article takes 2e-5 for a BERT base."""
    maxlen: int = 64
    """Largest number of tokens of a sentence; a pair read together has twice as many."""
    dropout: float = 0.1
    """Dropout rate."""
    scale: float = 20.0
    """Factor of the cosines in the ranking loss; scores of `interact_cosent` need none."""
    compare: tuple[str, str] | None = None
    """Only scores these two sentences, by every method that has weights in `output`."""
    output: Path = Path("runs/text_matching")
    """Directory of the results and of the weights of each method's best seed."""


# ---- data


def load_data(config):
    """Training pairs and held-out pairs, `(first, second, label)`; none is in both."""

    def read(paths):
        return [pair for path in paths for pair in datasets.load_pairs(path)]

    train = read(config.train)
    if not 0 <= config.hold_out < 1:
        raise ValueError(f"`hold_out` must be from 0 to below 1. Received: {config.hold_out}")
    if config.hold_out:
        (valid,) = datasets.split(train, (config.hold_out,), key=lambda pair: pair[0])
    else:
        valid = read(config.valid)
    held_out = {frozenset(pair[:2]) for pair in valid}
    train = [pair for pair in train if frozenset(pair[:2]) not in held_out]
    if config.limit:
        (train,) = datasets.split(train, (min(config.limit, len(train)),))
    for name, pairs in (("train", train), ("valid", valid)):
        if len({label for _, _, label in pairs}) < 2:
            raise ValueError(f"`{name}` must have different labels. Received: {len(pairs)} pairs")
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
        self.model, self.scorer, self.loss = self._build()
        self.scorer.compile(None, jit_compile=backend.train_with_xla())

    def _build(self):
        """The model to train, the one that scores, which shares its weights, and the loss."""
        config = self.config
        bert = models.build_transformer_model(
            config.config_path,
            config.checkpoint_path,
            dropout_rate=config.dropout,
            attention_dropout_rate=config.dropout,
        )
        first = layers.FirstToken(name="First")
        if self.together:
            vector = first(bert.output)
            if self.method == "interact_cosent":
                score = keras.layers.Dense(1, name="Score")(vector)
                return self._models(bert.inputs, score, score, CoSENT(scale=1.0))
            if is_binary(self.labels):
                logits = keras.layers.Dense(2, name="Label")(vector)
                loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
                return self._models(bert.inputs, logits, logits[:, 1:] - logits[:, :1], loss)
            score = keras.layers.Dense(1, name="Score")(vector)
            loss = keras.losses.BinaryCrossentropy(from_logits=True)
            return self._models(bert.inputs, score, score, loss)
        inputs = [keras.Input((None,), dtype="int32", name=name) for name in ("Input-1", "Input-2")]
        u, v = (first(bert([x, keras.ops.zeros_like(x)])) for x in inputs)
        cosine = keras.layers.Dot(1, normalize=True, dtype="float32", name="Cosine")([u, v])
        if self.method == "cosent":
            return self._models(inputs, cosine, cosine, CoSENT(config.scale))
        features = keras.ops.concatenate([u, v, keras.ops.abs(u - v)], axis=-1)
        logits = keras.layers.Dense(2, name="Label")(features)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return self._models(inputs, logits, cosine, loss)

    @staticmethod
    def _models(inputs, trained, score, loss):
        return keras.Model(inputs, trained), keras.Model(inputs, score), loss

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
        config = self.config
        longest = config.maxlen * (2 if self.together else 1)
        step = 32 if backend.train_with_xla() else 8
        batches = datasets.Batches(
            pairs,
            lambda pair: (self.encode(*pair[:2]), self.target(pair[2])),
            min(config.batch_size, len(pairs)),
            (*range(step, longest, step), longest),
            seed=self.seed,
            drop_remainder=True,
        )
        fit_to_zero_rate(
            self.model, self.loss, batches, config.epochs, config.learning_rate, clipnorm=1.0
        )

    def scores(self, pairs, batch_size=64):
        """One number for each pair, float64; the larger, the more similar."""
        rows = [self.encode(*pair[:2]) for pair in pairs]
        longest = max(len(ids) for row in rows for ids in row)
        batches = datasets.Batches(rows, lambda row: row, batch_size, (longest,), shuffle=False)
        return self.scorer.predict(batches, verbose=0)[:, 0].astype("float64")


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


def run_cell(config, experiment, method, seed, train, valid):
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
    if best is None or figures["spearman"] > best:
        about = {"labels": labels, "threshold": threshold, "seed": seed}
        about["config"] = options_of(config, FREE)
        save_weights(weights_path(config, method), matcher.scorer, about)
    return figures


def row_of(figures):
    return ", ".join(f"{FIGURES[name]} {100 * value:.2f}" for name, value in figures.items())


# ---- weights


def weights_path(config, method):
    return config.output / f"{method}.weights.h5"


def compare(config):
    """Prints the scores of one pair, by all methods that have weights."""
    for method, (path, about) in trained(config.output, config.methods).items():
        kept = {name: about["config"][name] for name in ("config_path", "dict_path", "maxlen")}
        old = dataclasses.replace(config, **kept, checkpoint_path=None)
        matcher = Matcher(old, method, about["labels"], about["seed"])
        matcher.scorer.load_weights(path)
        score = matcher.scores([config.compare])[0]
        line = f"{method}: {score:.4f}"
        if about["threshold"] is not None:
            same = "the same" if score > about["threshold"] else "not the same"
            line += f", {same} (threshold {about['threshold']:.4f})"
        print(line)


# ---- main


def main(config):
    unknown = [method for method in config.methods if method not in METHODS]
    if unknown:
        raise ValueError(f"`methods` must be among {METHODS}. Received: {unknown[0]!r}")
    if config.compare is not None:
        compare(config)
        return
    check_least(config, epochs=1, batch_size=1, limit=0, maxlen=3)
    train, valid = load_data(config)
    print(f"{len(train)} training pairs, {len(valid)} held out")
    experiment = Experiment(config.output / "results.json", options_of(config, FREE))
    found = {}
    for method in config.methods:
        for seed in config.seeds:
            cell = functools.partial(run_cell, config, experiment, method, seed, train, valid)
            figures = experiment.measure(cell, method=method, seed=seed)
            print(f"{method}, seed {seed}: {row_of(figures)}", flush=True)
            found.setdefault(method, []).append(figures)
    print(summarize(found, FIGURES, config.output / "table.png"))
    if is_binary(label for _, _, label in valid):
        print("accuracy: with the best threshold of the other half of the held-out pairs")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command goes on with the next cell")
