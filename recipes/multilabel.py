"""Many labels, most of them rare: multilabel softmax loss against binary cross-entropies.

Task: the tags of a text, of which there may be several.
Methods: `softmax`, the article's loss, which predicts scores above 0; `bce`, one sigmoid per tag,
above 0.5; `bce_tuned`, the same with a weight of the positive labels and a threshold, both chosen
on a development part of the training texts, then trained on all of them.
Data: `data/tagged_texts_*` (60 tags by Zipf's law) and the small BERT in `data/small_zh`, made by
this project; any JSON lines `{"text": ..., "tags": [...]}`.
Published: as good as a tuned binary cross-entropy, without the tuning (no figures).
Our results, with their commands: recipes/README.md.
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
from pathlib import Path

from kexue_keras.experiments.command import AFTER_A_CELL, command

import keras
import numpy as np

from kexue_keras import backend, datasets, layers
from kexue_keras.datasets.lines import DataError, field, read_objects
from kexue_keras.experiments.buckets import buckets
from kexue_keras.experiments.comparison import compare_methods
from kexue_keras.experiments.fitting import train_to_zero_rate
from kexue_keras.experiments.held_out import load_samples
from kexue_keras.experiments.options import DATA, Files, SmallBert, Table, UsageError, check
from kexue_keras.experiments.prediction import predict
from kexue_keras.experiments.pretrained import load_bert, load_tokenizer
from kexue_keras.experiments.tables import Figure
from kexue_keras.experiments.weights import keep_best, trained_weights
from kexue_keras.losses import MultilabelCategoricalCrossentropy
from kexue_keras.metrics.f1_threshold import optimal_f1_threshold

METHODS = ("softmax", "bce", "bce_tuned")
FREE = ("output", "seeds", "methods", "tag")  # options that the cells do not depend on
FIGURES = {
    "micro_f1": Figure("micro F1, %"),
    "macro_f1": Figure("macro F1, %"),
    "rare_f1": Figure("macro F1 of the rarer half of tags, %"),
}


@dataclasses.dataclass
class Config(Table, SmallBert, Files):
    """Prints the table methods x figures; what is measured already is not measured again."""

    train: tuple[Path, ...] = (DATA / "tagged_texts_train.jsonl",)
    valid: tuple[Path, ...] = (DATA / "tagged_texts_valid.jsonl",)
    methods: tuple[str, ...] = METHODS
    epochs: int = 6
    learning_rate: float = 5e-4
    """Adam's at the start, falling to zero; about 2e-5 for a BERT base."""
    maxlen: int = 64
    positive_weights: tuple[float, ...] = (1.0, 4.0, 16.0)
    """Weights of positive labels that `bce_tuned` chooses from."""
    development: float = 0.2
    """Share of the training texts on which it chooses."""
    tag: str | None = None
    """Only tags this text, by every method that has weights in `output`."""
    output: Path = Path("runs/multilabel")


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
        self.tokenizer, self.lengths = load_tokenizer(config), buckets(config.maxlen, step=16)
        bert = load_bert(config)
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
        rows = [*zip((text for text, _ in samples), matrix(samples, self.tags), strict=True)]
        arguments = rows, lambda row: (self.encode(row[0]), row[1]), self.lengths, self.seed
        train_to_zero_rate(self.config, self.model, loss, *arguments, clipnorm=None, fixed=(2,))

    def scores(self, samples):
        """Scores of the tags, float32 `(texts, tags)`."""
        return predict(self.scorer, [self.encode(text) for text, _ in samples], self.lengths)


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


class Comparison:
    """Measures the methods on one set of texts."""

    def __init__(self, config, train, valid):
        self.config, self.train, self.valid = config, train, valid
        self.tags = tags_of(train, valid)

    def measure(self, experiment, method, seed):
        """Figures of a method with one seed; keeps the weights if no other seed's are better."""
        weight, threshold = self._tuned(experiment, seed) if method == "bce_tuned" else (1.0, 0.0)
        loss = binary_crossentropy(weight)
        if method == "softmax":
            loss = MultilabelCategoricalCrossentropy()
        tagger = Tagger(self.config, self.tags, seed)
        tagger.train(self.train, loss)
        predicted = tagger.scores(self.valid) > threshold
        figures = measures(matrix(self.valid, self.tags), predicted)
        for (text, gold), chosen in list(zip(self.valid, predicted, strict=True))[:3]:
            found = [self.tags[i] for i in np.flatnonzero(chosen)]
            mark = "✓" if set(found) == set(gold) else "✗"
            print(f"  {mark} {text}\n      {' '.join(found)}   (gold: {' '.join(gold)})")
        best, value = experiment.best("micro_f1", method=method), figures["micro_f1"]
        known = {"tags": self.tags, "threshold": threshold, "seed": seed}
        keep_best(self.config, FREE, method, tagger.scorer, value, best, **known)
        return figures

    def _tuned(self, experiment, seed):
        """The weight of positive labels and the threshold that are best on the development part."""
        share = self.config.development
        held_out, rest = datasets.split(self.train, (share, 1 - share))
        if not held_out or not rest:
            raise UsageError(
                f"`development` must leave texts of the {len(self.train)} on both sides. "
                f"Received: {share}"
            )

        def develop(weight):
            tagger = Tagger(self.config, self.tags, seed)
            tagger.train(rest, binary_crossentropy(weight))
            truth = matrix(held_out, self.tags)
            threshold, value = optimal_f1_threshold(truth, tagger.scores(held_out))
            print(f"weight {weight:g}: threshold {threshold:.3f}, F1 {value:.4f}", flush=True)
            return {"development_f1": value, "threshold": threshold}

        cells = {}
        for weight in self.config.positive_weights:
            function, options = functools.partial(develop, weight), {"weight": weight, "seed": seed}
            cells[weight] = experiment.measure(function, method="bce_tuned", **options)
        weight = max(cells, key=lambda weight: cells[weight]["development_f1"])
        return weight, cells[weight]["threshold"]


# ---- main


def tag_text(config):
    """Prints the tags of one text, by all methods that have weights."""
    for path, known, trained in trained_weights(config, FREE):
        tagger = Tagger(trained, known["tags"], known["seed"])
        tagger.scorer.load_weights(path)
        (scores,) = tagger.scores([(config.tag, ())])
        order = [i for i in np.argsort(-scores) if scores[i] > known["threshold"]]
        tags = (f"{known['tags'][i]} ({scores[i]:.2f})" for i in order)
        print(f"{known['method']}: {' '.join(tags)}")


def main(config):
    check(config, methods=METHODS, positive_weights=0)
    if not 0 < config.development < 1:
        raise UsageError(f"`development` must be between 0 and 1. Received: {config.development}")
    if config.tag is not None:
        tag_text(config)
        return
    train, valid = load_samples(config, load_tagged, [lambda sample: sample[0]])
    comparison = Comparison(config, train, sum(valid.values(), []))
    texts = f"{len(train)} training texts, {len(comparison.valid)} held out"
    print(f"{texts}, {len(comparison.tags)} tags")
    compare_methods(config, FREE, comparison.measure, FIGURES)


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
