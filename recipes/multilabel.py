"""Many labels, most of them rare: multilabel softmax loss against binary cross-entropies.

Task: the tags of a text, of which there may be several.
Methods: `softmax`, the article's loss, which predicts scores above 0; `bce`, one sigmoid per tag,
above 0.5; `bce_tuned`, the same with a weight of the positive labels and a threshold, both chosen
on a development part of the training texts, then trained on all of them.
Data: `data/tagged_texts_*` (60 tags by Zipf's law) and the small BERT in `data/small_zh`, made by
this project; any JSON lines `{"text": ..., "tags": [...]}`.
Published: as good as a tuned binary cross-entropy, without the tuning (no figures).
Our results, with their commands: README.md, section Results.
Articles: https://kexue.fm/archives/7359, https://kexue.fm/archives/9064 (soft labels)

    python recipes/multilabel.py                               # our texts, three methods, 3 seeds
    python recipes/multilabel.py --tag 早上喂了猫，然后去江边骑车。
    python recipes/multilabel.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train train.jsonl --valid valid.jsonl --learning-rate 2e-5
"""

import collections
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

from kexue_keras.datasets.lines import DataError, field, read_objects
from kexue_keras.experiments.comparison import (
    Experiment,
    check_least,
    options_of,
    save_weights,
    summarize,
    trained,
)
from kexue_keras.experiments.fitting import fit_to_zero_rate, load_tokenizer
from kexue_keras.losses import MultilabelCategoricalCrossentropy
from kexue_keras.metrics.threshold import between

DATA = Path(__file__).resolve().parent.parent / "data"
SMALL = DATA / "small_zh"
METHODS = ("softmax", "bce", "bce_tuned")
FREE = ("output", "seeds", "methods", "tag")  # options that the cells do not depend on
FIGURES = {
    "micro_f1": "micro F1, %",
    "macro_f1": "macro F1, %",
    "rare_f1": "macro F1 of the rarer half of tags, %",
}


@dataclasses.dataclass
class Config:
    """Prints the table methods x figures; what is measured already is not measured again."""

    train: Path = DATA / "tagged_texts_train.jsonl"
    """Training texts."""
    valid: Path = DATA / "tagged_texts_valid.jsonl"
    """Held-out texts; training texts that occur here are dropped."""
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
    epochs: int = 6
    """Passes over the training texts; the weights after the last one count."""
    batch_size: int = 32
    """Texts in a batch."""
    learning_rate: float = 5e-4
    """Adam's at the start, falling to zero; about 2e-5 for a BERT base."""
    maxlen: int = 64
    """Largest number of tokens of a text."""
    dropout: float = 0.1
    """Dropout rate."""
    positive_weights: tuple[float, ...] = (1.0, 4.0, 16.0)
    """Weights of positive labels that `bce_tuned` chooses from."""
    development: float = 0.2
    """Share of the training texts on which it chooses."""
    tag: str | None = None
    """Only tags this text, by every method that has weights in `output`."""
    output: Path = Path("runs/multilabel")
    """Directory of the results and of the weights of each method's best seed."""


# ---- data


def load_tagged(path):
    """`(text, tags)` of each JSON line; the tags are a tuple of different strings."""
    samples = []
    for number, row, (text,) in read_objects(path, ("text",)):
        tags = field(row, "tags", list, f"{path}:{number}")
        if not all(isinstance(tag, str) for tag in tags) or len(set(tags)) < len(tags):
            raise DataError(f"{path}:{number}: 'tags' must be different strings. Received: {tags}")
        samples.append((text, tuple(tags)))
    return samples


def tags_of(train, valid):
    """All tags, those of most training texts first; some may occur in held-out texts only."""
    counts = collections.Counter(tag for _, tags in train for tag in tags)
    counts.update({tag: 0 for _, tags in valid for tag in tags})
    return sorted(counts, key=lambda tag: (-counts[tag], tag))


def matrix(samples, tags):
    """Which sample has which tag, bool `(samples, tags)`."""
    places = {tag: i for i, tag in enumerate(tags)}
    found = np.zeros((len(samples), len(tags)), bool)
    for row, (_, own) in zip(found, samples, strict=True):
        row[[places[tag] for tag in own]] = True
    return found


# ---- model and losses


def binary_crossentropy(positive_weight):
    """Sum over the tags of the sigmoid's cross-entropy, that of positive labels weighted."""

    def loss(y_true, y_pred):
        y_true = keras.ops.cast(y_true, y_pred.dtype)
        positive = positive_weight * y_true * keras.ops.softplus(-y_pred)
        return keras.ops.sum(positive + (1 - y_true) * keras.ops.softplus(y_pred), axis=-1)

    return loss


class Tagger:
    """The pretrained BERT with a new layer on [CLS]: a score for every tag.

    Args:
        config: `Config`.
        tags: names of the tags.
        seed: of the new layer and of training.
    """

    def __init__(self, config, tags, seed):
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        self.config, self.tags, self.seed = config, tags, seed
        self.tokenizer = load_tokenizer(config)
        bert = models.build_transformer_model(
            config.config_path,
            config.checkpoint_path,
            dropout_rate=config.dropout,
            attention_dropout_rate=config.dropout,
        )
        first = layers.FirstToken(name="First")(bert.output)
        scores = keras.layers.Dense(len(tags), dtype="float32", name="Tag")(first)
        self.model = keras.Model(bert.inputs, scores)
        # a model of its own, so that weights are saved without Adam's state
        self.scorer = keras.Model(bert.inputs, scores)
        self.scorer.compile(None, jit_compile=backend.train_with_xla())

    def encode(self, text):
        """The two inputs of the model."""
        return self.tokenizer.encode(text, maxlen=self.config.maxlen)

    def train(self, samples, loss):
        """Adam with a learning rate that falls to zero; the last weights count."""
        config = self.config
        step = 32 if backend.train_with_xla() else 16
        targets = matrix(samples, self.tags)
        batches = datasets.Batches(
            range(len(samples)),
            lambda i: (self.encode(samples[i][0]), targets[i]),
            min(config.batch_size, len(samples)),
            (*range(step, config.maxlen, step), config.maxlen),
            seed=self.seed,
            fixed=(2,),
            drop_remainder=True,
        )
        fit_to_zero_rate(self.model, loss, batches, config.epochs, config.learning_rate)

    def scores(self, texts, batch_size=64):
        """Scores of the tags, float32 `(texts, tags)`."""
        rows = [self.encode(text) for text in texts]
        longest = max(len(ids) for ids, _ in rows)
        batches = datasets.Batches(rows, lambda row: row, batch_size, (longest,), shuffle=False)
        return self.scorer.predict(batches, verbose=0)


# ---- evaluation


def f1(truth, predicted, axis=None):
    """F1 of all decisions, or with `axis=0` of every tag; NaN if it occurs in neither."""
    hits = (truth & predicted).sum(axis=axis)
    total = truth.sum(axis=axis) + predicted.sum(axis=axis)
    return np.where(total > 0, 2 * hits / np.maximum(total, 1), np.nan)


def measures(truth, predicted):
    """Micro F1, the mean F1 of the tags, and of the rarer half of them.

    Args:
        truth, predicted: bool `(texts, tags)`; the rarest tags of training come last. A tag that
            is neither in `truth` nor in `predicted` has no F1 and is left out.
    """
    single = f1(truth, predicted, axis=0)
    rare = single[(len(single) + 1) // 2 :]
    return {
        "micro_f1": float(f1(truth, predicted)),
        "macro_f1": _mean(single),
        "rare_f1": _mean(rare),
    }


def _mean(values):
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else 0.0


def best_threshold(truth, scores):
    """The threshold t with the best micro F1 of "tagged if score > t", and that F1.

    Exact: all thresholds are compared, those between two neighbouring scores by their middle. It is
    a number of the scores' dtype, so that the comparison comes out the same there.
    """
    order = np.argsort(-scores, axis=None)
    sorted_scores = scores.ravel()[order]
    hits = np.cumsum(truth.ravel()[order])
    values = 2 * hits / (truth.sum() + np.arange(1, len(hits) + 1))
    # equal scores are on one side of any threshold
    ends = np.flatnonzero(np.diff(sorted_scores, append=-np.inf))
    best = ends[values[ends].argmax()]
    threshold = between(sorted_scores[::-1], len(sorted_scores) - 1 - best)
    return threshold, float(values[best])


class Comparison:
    """Measures the methods on one set of texts."""

    def __init__(self, config, train, valid):
        self.config, self.train, self.valid = config, train, valid
        self.tags = tags_of(train, valid)
        self.truth = matrix(valid, self.tags)
        self.experiment = Experiment(config.output / "results.json", options_of(config, FREE))

    def run(self, method, seed):
        """Figures of a method with one seed."""
        function = functools.partial(self._measure, method, seed)
        figures = self.experiment.measure(function, method=method, seed=seed)
        row = ", ".join(f"{FIGURES[name]} {100 * value:.2f}" for name, value in figures.items())
        print(f"{method}, seed {seed}: {row}", flush=True)
        return figures

    def _measure(self, method, seed):
        weight, threshold = self._tuned(seed) if method == "bce_tuned" else (1.0, 0.0)
        loss = binary_crossentropy(weight)
        if method == "softmax":
            loss = MultilabelCategoricalCrossentropy()
        tagger = Tagger(self.config, self.tags, seed)
        tagger.train(self.train, loss)
        scores = tagger.scores([text for text, _ in self.valid])
        figures = measures(self.truth, scores > threshold)
        self._show(scores > threshold)
        best = self.experiment.best("micro_f1", method=method)
        if best is None or figures["micro_f1"] > best:
            about = {"tags": self.tags, "threshold": threshold, "seed": seed}
            about["config"] = options_of(self.config, FREE)
            save_weights(weights_path(self.config, method), tagger.scorer, about)
        return figures

    def _tuned(self, seed):
        """The weight of positive labels and the threshold that are best on the development part."""
        held_out, rest = datasets.split(
            self.train, (self.config.development, 1 - self.config.development)
        )
        if not held_out or not rest:
            raise ValueError(
                f"`development` must leave texts of the {len(self.train)} on both sides. "
                f"Received: {self.config.development}"
            )

        def develop(weight):
            tagger = Tagger(self.config, self.tags, seed)
            tagger.train(rest, binary_crossentropy(weight))
            scores = tagger.scores([text for text, _ in held_out])
            threshold, value = best_threshold(matrix(held_out, self.tags), scores)
            print(f"weight {weight:g}: threshold {threshold:.3f}, F1 {value:.4f}", flush=True)
            return {"development_f1": value, "threshold": threshold}

        cells = {}
        for weight in self.config.positive_weights:
            cells[weight] = self.experiment.measure(
                functools.partial(develop, weight), method="bce_tuned", weight=weight, seed=seed
            )
        weight = max(cells, key=lambda weight: cells[weight]["development_f1"])
        return weight, cells[weight]["threshold"]

    def _show(self, predicted):
        for (text, gold), chosen in list(zip(self.valid, predicted, strict=True))[:3]:
            found = [self.tags[i] for i in np.flatnonzero(chosen)]
            mark = "✓" if set(found) == set(gold) else "✗"
            print(f"  {mark} {text}\n      {' '.join(found)}   (gold: {' '.join(gold)})")


# ---- main


def weights_path(config, method):
    return config.output / f"{method}.weights.h5"


def tag_text(config):
    """Prints the tags of one text, by all methods that have weights."""
    for method, (path, about) in trained(config.output, config.methods).items():
        kept = {name: about["config"][name] for name in ("config_path", "dict_path", "maxlen")}
        old = dataclasses.replace(config, **kept, checkpoint_path=None)
        tagger = Tagger(old, about["tags"], about["seed"])
        tagger.scorer.load_weights(path)
        (scores,) = tagger.scores([config.tag])
        order = [i for i in np.argsort(-scores) if scores[i] > about["threshold"]]
        print(f"{method}: " + " ".join(f"{about['tags'][i]} ({scores[i]:.2f})" for i in order))


def main(config):
    unknown = [method for method in config.methods if method not in METHODS]
    if unknown:
        raise ValueError(f"`methods` must be among {METHODS}. Received: {unknown[0]!r}")
    check_least(config, epochs=1, batch_size=1, maxlen=3, positive_weights=0)
    if not 0 < config.development < 1:
        raise ValueError(f"`development` must be between 0 and 1. Received: {config.development}")
    if config.tag is not None:
        tag_text(config)
        return
    valid = load_tagged(config.valid)
    held_out = {text for text, _ in valid}
    train = [sample for sample in load_tagged(config.train) if sample[0] not in held_out]
    comparison = Comparison(config, train, valid)
    print(f"{len(train)} training texts, {len(valid)} held out, {len(comparison.tags)} tags")
    found = {}
    for method in config.methods:
        found[method] = [comparison.run(method, seed) for seed in config.seeds]
    print(summarize(found, FIGURES, config.output / "table.png"))


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command goes on with the next cell")
