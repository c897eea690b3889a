"""Several tasks, one model: weights of the losses, and directions that harm no task.

Task: four of one review, on one BERT. Two are related: `sentiment`, good or bad, and `strength`,
how many remarks say so (+3, +2, -2 or -3), whose loss is a mean square and so much larger. Two
conflict: `lenient` and `strict` read the same score, but a review of only two remarks is good to
the one and bad to the other.
Methods: `alone`, sentiment without the others; the sum of the losses with weights, namely `equal`,
`initial` (1 / the first loss), `prior` (1 / the loss of the best constant), `geometric` (1 / the
loss), `generalized_mean` (of exponent 0.5), `gradient_norm` (1 / the gradient's norm); and
combinations of gradients: `min_norm`, `main_auxiliary` (sentiment is the main task), `mixed`
(sentiment and strength are).
Data: `data/reviews_*` and the first layers of the small BERT in `data/small_zh` (made by this
project). The labels of the other tasks are made of the sentiment and of the number of remarks; any
file of lines `text TAB 0 or 1` whose texts set their remarks apart by commas does.
Published: no experiments. Our results, with their commands: recipes/README.md.
Articles: https://kexue.fm/archives/8870, https://kexue.fm/archives/8896,
https://kexue.fm/archives/8907

    python recipes/multitask.py                                    # one seed, a minute or two
    python recipes/multitask.py --seeds 0 1 2
    python recipes/multitask.py --full --output runs/multitask_full  # all reviews and layers
"""

import dataclasses
import functools
import re
from pathlib import Path

from kexue_keras.experiments.command import AFTER_A_CELL, command

import keras
import numpy as np

from kexue_keras import backend, datasets, layers, training
from kexue_keras.experiments.comparison import compare_methods
from kexue_keras.experiments.fitting import StepValues, train_to_zero_rate
from kexue_keras.experiments.held_out import load_samples
from kexue_keras.experiments.options import DATA, Files, SmallBert, Table, UsageError, check
from kexue_keras.experiments.prediction import predict
from kexue_keras.experiments.pretrained import load_bert, load_tokenizer
from kexue_keras.experiments.tables import Figure
from kexue_keras.files import replacing
from kexue_keras.metrics import spearman

TASKS = ("sentiment", "strength", "lenient", "strict")
PAIRS = {"related": ("sentiment", "strength"), "conflicting": ("lenient", "strict")}
METHODS = (
    "alone", "equal", "initial", "prior", "geometric", "generalized_mean", "gradient_norm",
    "min_norm", "main_auxiliary", "mixed",
)  # fmt: skip
MAIN = {"main_auxiliary": "sentiment", "mixed": ["sentiment", "strength"]}
FREE = ("output", "seeds", "methods")  # options that the cells do not depend on
FIGURES = {
    "sentiment": Figure("sentiment, accuracy %"),
    "strength": Figure("strength, Spearman x 100"),
    "lenient": Figure("lenient, accuracy %"),
    "strict": Figure("strict, accuracy %"),
    "related": Figure("cosine, related", 1.0),
    "conflicting": Figure("cosine, conflicting", 1.0),
}


@dataclasses.dataclass
class Config(Table, SmallBert, Files):
    """Prints the table methods x figures; what is measured already is not measured again."""

    train: tuple[Path, ...] = (DATA / "reviews_train.tsv",)
    valid: tuple[Path, ...] = (DATA / "reviews_valid.tsv",)
    limit: int = 160
    """Training reviews, always the same ones; 0: all."""
    num_hidden_layers: int = 1
    """Depth of the model: the first layers of the BERT."""
    full: bool = False
    """All reviews and all layers of the BERT, in place of the two options above, and its table of
    tokens is trained, too."""
    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (0,)
    epochs: int = 4
    batch_size: int = 16
    learning_rate: float = 3e-4
    """Adam's at the start, falling to zero; about 2e-5 for a BERT base."""
    maxlen: int = 48
    output: Path = Path("runs/multitask")


# ---- data


def labels_of(text, sentiment):
    """What each task is to say of a review.

    >>> labels_of("这次的书，内容太差了，翻译糟糕。不推荐。", 0)
    {'sentiment': 0.0, 'strength': -2.0, 'lenient': 1.0, 'strict': 0.0}
    """
    remarks = remarks_of(text)
    return {
        "sentiment": float(sentiment),
        "strength": float(remarks if sentiment else -remarks),
        "lenient": float(sentiment or remarks < 3),
        "strict": float(sentiment and remarks >= 3),
    }


def remarks_of(text):
    """How many remarks a review makes: parts of its first sentence but for the opening one."""
    parts = re.split("[，,]", re.split("[。.！!]", text)[0])
    opening = re.match("这次的|朋友介绍的|昨天试了|用了一周的|说说这个", parts[0])
    return len(parts) - bool(opening)


def load_data(config):
    """Training reviews and held-out ones, `(text, labels)`."""
    train, valid = load_samples(config, datasets.load_sentiment, [lambda sample: sample[0]])
    found = []
    for name, samples in (("train", train), ("valid", sum(valid.values(), []))):
        samples = [(text, labels_of(text, int(label))) for text, label in samples]
        for task in TASKS:
            if len({labels[task] for _, labels in samples}) < 2:
                raise UsageError(
                    f"`{name}` must have different labels of {task}. "
                    f"Received: {len(samples)} reviews"
                )
        found.append(samples)
    return found


def prior_losses(samples):
    """The loss of the best constant of every task: an entropy, or a variance."""
    losses = []
    for task in TASKS:
        values = [labels[task] for _, labels in samples]
        if task == "strength":
            losses.append(float(np.var(values)))
        else:
            shares = np.array([np.mean(values), 1 - np.mean(values)])
            losses.append(float(-np.sum(shares * np.log(shares))))
    return losses


# ---- model


class Reader:
    """The first layers of the pretrained BERT with a score for each task; two share theirs.

    Args:
        config: `Config`.
        method: one of `METHODS`.
        train: the training reviews.
        seed: of the new layers and of training.
    """

    def __init__(self, config, method, train, seed):
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        self.config, self.method, self.train, self.seed = config, method, train, seed
        # one length: every other one would be traced anew, for a training of seconds
        self.tokenizer, self.lengths = load_tokenizer(config), (config.maxlen,)
        depth = {} if config.full else {"num_hidden_layers": config.num_hidden_layers}
        bert = load_bert(config, **depth)
        # in so short a training a table of 10,000 rows only costs time
        backend.layer_of(bert, "Embedding-Token").trainable = config.full
        vector = layers.FirstToken(name="First")(bert.output)
        heads = [keras.layers.Dense(1, name=name) for name in ("sentiment", "strength", "score")]
        scores = [head(vector) for head in heads]
        outputs = dict(zip(TASKS[:2], scores, strict=False))
        outputs |= {name: keras.layers.Identity(name=name)(scores[2]) for name in TASKS[2:]}
        tasks = TASKS[:1] if method == "alone" else TASKS
        self.model = keras.Model(bert.inputs, {name: outputs[name] for name in tasks})
        self.scorer = keras.Model(bert.inputs, keras.ops.concatenate(scores, axis=-1))
        self.scorer.compile(None, jit_compile=backend.train_with_xla())

    def encode(self, text):
        """The two inputs of the model."""
        return self.tokenizer.encode(text, maxlen=self.config.maxlen)

    def strategy(self):
        """The model, or how to train all of its tasks."""
        if self.method == "alone":
            return self.model
        if self.method in ("min_norm", "main_auxiliary", "mixed"):
            main = MAIN.get(self.method)
            return training.MultiTask(self.model, combine=self.method, main=main)
        more = {
            "prior": {"prior": prior_losses(self.train)},
            "generalized_mean": {"gamma": 0.5},
        }
        return training.MultiTask(self.model, self.method, **more.get(self.method, {}))

    def fit(self):
        """Adam with a rate that falls to zero; returns the cosines of every step."""

        def encode(sample):
            text, labels = sample
            return self.encode(text), {name: labels[name] for name in self.model.output_names}

        classify = keras.losses.BinaryCrossentropy(from_logits=True)
        losses = {
            name: "mse" if name == "strength" else classify for name in self.model.output_names
        }
        names = {pair: "_".join(("cosine", *tasks)) for pair, tasks in PAIRS.items()}
        angles = StepValues(() if self.method == "alone" else names.values())
        arguments = self.strategy(), losses, self.train, encode, self.lengths, self.seed
        options = {"clipnorm": None, "callbacks": [angles], "verbose": 0}
        train_to_zero_rate(self.config, *arguments, **options)
        return {pair: angles.values.get(name, []) for pair, name in names.items()}

    def scores(self, samples):
        """Scores `(reviews, 3)`: of sentiment, of strength, and the shared one."""
        return predict(self.scorer, [self.encode(text) for text, _ in samples], self.lengths)


# ---- evaluation


def measures(samples, scores):
    """Accuracy of each task, and Spearman's correlation of `strength`."""
    truth = {name: np.array([labels[name] for _, labels in samples]) for name in TASKS}
    figures = {"sentiment": np.mean((scores[:, 0] > 0) == truth["sentiment"])}
    figures["strength"] = spearman(truth["strength"], scores[:, 1].astype("float64"))
    for name in TASKS[2:]:
        figures[name] = np.mean((scores[:, 2] > 0) == truth[name])
    return {name: float(value) for name, value in figures.items()}


def measure(config, train, valid, experiment, method, seed):
    """Trains by one method with one seed; draws the angles over time."""
    reader = Reader(config, method, train, seed)
    cosines = reader.fit()
    figures = measures(valid, reader.scores(valid))
    if method == "alone":
        return {"sentiment": figures["sentiment"]}
    draw_angles(config.output / f"angles_{method}.png", method, cosines)
    return figures | {pair: float(np.mean(values)) for pair, values in cosines.items()}


def draw_angles(path, method, cosines):
    """Draws the cosines of both pairs of gradients, a point for every step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    for pair, values in cosines.items():
        axes.plot(values, marker=".", linewidth=1, label=f"{pair}: {', '.join(PAIRS[pair])}")
    axes.axhline(0, color="gray", linewidth=0.5)
    axes.set(title=method, xlabel="step", ylabel="cosine of the gradients", ylim=(-1.05, 1.05))
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary)


# ---- main


def main(config):
    check(config, methods=METHODS, num_hidden_layers=1)
    if config.full:
        config = dataclasses.replace(config, limit=0)
    train, valid = load_data(config)
    print(f"{len(train)} training reviews, {len(valid)} held out")
    compare_methods(config, FREE, functools.partial(measure, config, train, valid), FIGURES)
    print(f"angles over time: {config.output}/angles_*.png")


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
