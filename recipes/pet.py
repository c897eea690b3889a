"""Classification by filling in blanks (PET): five regimes and an ordinary classifier, one table.

Task: `[MASK]满意。` before a review; a masked language model that prefers 很 to 不 says it is good.
Regimes: zero-shot; zero-shot after masked-LM training on texts without labels; few-shot; both at
once (semi-supervised); the original paper's ensemble of patterns, distilled into a classifier; and,
for comparison, that classifier fine-tuned on the same few labels.
Data: `data/reviews_*` and the small BERT in `data/small_zh` (made by this project); any
`text TAB label` file, and FewCLUE's JSON lines.
Published: with about 200 labels 89.31 % against 88.93 % by fine-tuning, 90.09 % semi-supervised.
Our results, with their commands: README.md, section Results.
Article: https://kexue.fm/archives/7764; paper: https://arxiv.org/abs/2001.07676

    python recipes/pet.py                                   # our reviews, about two minutes
    python recipes/pet.py --task tnews --train tnews_train_0.jsonl --valid tnews_dev_0.jsonl
    python recipes/pet.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train sentiment/train.tsv --valid sentiment/valid.tsv --learning-rate 1e-5
"""

import dataclasses
import random
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from kexue_keras import datasets
from kexue_keras.experiments.comparison import Experiment, check_least, mean_and_spread, options_of
from kexue_keras.experiments.few_shot import FewShot, Options
from kexue_keras.files import replacing
from kexue_keras.patterns import Pattern

DATA = Path(__file__).resolve().parent.parent / "data"
SMALL = DATA / "small_zh"

REVIEWS = (
    "[MASK]满意。{text}",
    "{text}[MASK]满意。",
    "[MASK]好。{text}",
    "[MASK]理想。{text}",
    "感觉如何？[MASK]满意。{text}",
)
NEWS = (
    "下面报导一则[MASK][MASK]新闻。{text}",
    "{text}这是一则[MASK][MASK]新闻。",
    "[MASK][MASK]：{text}",
)
NEWS_LABELS = "100 101 102 103 104 106 107 108 109 110 112 113 114 115 116".split()
NEWS_WORDS = "故事 文化 娱乐 体育 财经 房产 汽车 教育 科技 军事 旅游 国际 股票 农业 电竞".split()
TASKS = {
    "sentiment": (REVIEWS, {"1": "很", "0": "不"}),
    "eprstmt": (REVIEWS, {"Positive": "很", "Negative": "不"}),
    "tnews": (
        NEWS,
        dict(zip(NEWS_LABELS, NEWS_WORDS, strict=True)),
    ),
}
REGIMES = (
    "zero-shot",
    "unsupervised",
    "few-shot",
    "semi-supervised",
    "distilled",
    "fine-tuning",
)
WITHOUT_LABELS = ("unsupervised", "semi-supervised", "distilled")
ALL_PATTERNS = "all patterns"


@dataclasses.dataclass
class Config(Options):
    """Prints the table patterns x regimes; what is measured already is not measured again."""

    task: Literal["sentiment", "eprstmt", "tnews"] = "sentiment"
    """Patterns and label words."""
    train: tuple[Path, ...] = (DATA / "reviews_train.tsv",)
    """Files of training texts; `labelled` of them keep their labels."""
    valid: tuple[Path, ...] = (DATA / "reviews_valid.tsv",)
    """Files of held-out texts; training texts that occur here are dropped."""
    unlabelled: tuple[Path, ...] = ()
    """More files of texts, whose labels, if any, are not looked at."""
    patterns: tuple[str, ...] = ()
    """Other patterns than the task's, such as "[MASK]好。{text}"."""
    regimes: tuple[str, ...] = REGIMES
    """Which rows of the table."""
    labelled: int = 168
    """Training texts that keep their labels, drawn anew for every seed; 0: all."""
    unlabelled_samples: int = 0
    """Texts without labels per epoch, at most; 0: all."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of every trained cell for each; the table shows mean and standard deviation."""
    config_path: Path = SMALL / "bert_config.json"
    """Configuration of a pretrained BERT."""
    checkpoint_path: Path = SMALL / "bert_model.npz"
    """Checkpoint of the BERT, masked-LM head included."""
    dict_path: Path = SMALL / "vocab.txt"
    """Vocabulary of the BERT."""
    epochs: int = 10
    """Passes over the labelled texts."""
    unlabelled_epochs: int = 1
    """Passes over the texts without labels."""
    temperature: float = 2.0
    """Of the ensemble's soft labels."""
    output: Path = Path("runs/pet")
    """Directory of the results."""


# ---- data


def load_texts(path):
    """`(text, label)`, both strings; the label is None where there is none."""
    if is_json(path):
        return datasets.load_fewclue(path)
    return [(text, str(label)) for text, label in datasets.load_sentiment(path)]


def load_unlabelled(path):
    """Texts; what stands behind a tab, and JSON's labels, are not looked at."""
    if is_json(path):
        return [text for text, _ in datasets.load_fewclue(path)]
    return [line.split("\t")[0] for _, line in datasets.read_lines(path)]


def is_json(path):
    return not {".json", ".jsonl"}.isdisjoint(path.suffixes)


class Data:
    """Held-out texts, and for every seed the labelled ones and the others."""

    def __init__(self, config, labels):
        def read(paths):
            return [sample for path in paths for sample in load_texts(path)]

        self.valid = read(config.valid)
        held_out = {text for text, _ in self.valid}
        self.train = [sample for sample in read(config.train) if sample[0] not in held_out]
        more = [text for path in config.unlabelled for text in load_unlabelled(path)]
        self.more = [text for text in more if text not in held_out]
        self.size = config.labelled or len(self.train)
        for text, label in self.valid + self.train:
            if label not in labels:
                raise ValueError(
                    f"`train` and `valid` must have the labels of `task` {config.task}, "
                    f"{', '.join(labels)}. Received: {label!r} for {text!r}"
                )
        if not 0 < self.size <= len(self.train):
            raise ValueError(
                f"`labelled` must be at most {len(self.train)}, the training texts that are not "
                f"held out. Received: {config.labelled}"
            )

    def labelled(self, seed):
        """Labelled samples and texts without labels."""
        order = list(range(len(self.train)))
        random.Random(seed).shuffle(order)
        chosen = [self.train[i] for i in order[: self.size]]
        return chosen, [self.train[i][0] for i in order[self.size :]] + self.more


# ---- regimes


class Comparison:
    """Measures the cells of the table, named by regime, pattern and seed, one by one."""

    def __init__(self, config, lab, data):
        self.config, self.lab, self.data = config, lab, data
        self.patterns = patterns_of(config)
        texts, labels = zip(*data.valid, strict=True)
        self.texts = texts
        self.soft_labels = {}
        self.truth = np.array([lab.labels.index(label) for label in labels])
        options = options_of(config, ("output", "seeds", "regimes"))
        self.experiment = Experiment(config.output / "results.json", options)

    def run(self):
        """Measures what is not measured yet."""
        for regime in self.config.regimes:
            if regime in WITHOUT_LABELS and not self._split(0)[1]:
                print(f"{regime}: left out, because all texts are labelled")
                continue
            measure = {
                "zero-shot": self.zero_shot,
                "unsupervised": self.unsupervised,
                "few-shot": self.few_shot,
                "semi-supervised": self.semi_supervised,
                "distilled": self.distilled,
                "fine-tuning": self.fine_tuning,
            }[regime]
            for seed in self._seeds(regime):
                measure(regime, seed)

    def _seeds(self, regime):
        return (0,) if regime == "zero-shot" else self.config.seeds

    def zero_shot(self, regime, seed):
        model = self.lab.language_model(seed)
        for pattern in self._missing(regime, seed):
            self._fill(regime, seed, pattern, model)

    def unsupervised(self, regime, seed):
        missing = list(self._missing(regime, seed))
        if not missing:
            return
        model = self.lab.language_model(seed)
        _, texts = self._split(seed)
        self.lab.train_to_fill(model, None, [], texts, self.config.unlabelled_epochs, seed)
        for pattern in missing:
            self._fill(regime, seed, pattern, model)

    def few_shot(self, regime, seed):
        for pattern in self._missing(regime, seed):
            model = self._few_shot_model(pattern, seed)
            if "distilled" in self.config.regimes and self._split(seed)[1]:
                self._label(pattern, model, seed)
            self._fill(regime, seed, pattern, model)

    def semi_supervised(self, regime, seed):
        for pattern in self._missing(regime, seed):
            labelled, texts = self._split(seed)
            # labelled texts come as often as in the few-shot regime
            times = max(1, self.config.epochs // self.config.unlabelled_epochs)
            model, epochs = self.lab.language_model(seed), self.config.unlabelled_epochs
            self.lab.train_to_fill(model, pattern, labelled * times, texts, epochs, seed)
            self._fill(regime, seed, pattern, model)

    def distilled(self, regime, seed):
        if self._done(regime, ALL_PATTERNS, seed):
            return
        labelled, texts = self._split(seed)
        for pattern in self.patterns:
            if (pattern.template, seed) not in self.soft_labels:
                self._label(pattern, self._few_shot_model(pattern, seed), seed)
        ensemble = np.mean([self.soft_labels.pop((p.template, seed)) for p in self.patterns], 0)
        soft = _softmax(ensemble / self.config.temperature)
        soft = np.concatenate([self._one_hot(labelled), soft])
        classifier = self.lab.classifier(seed)
        texts = [text for text, _ in labelled] + texts
        self.lab.train_to_classify(classifier, texts, soft, self.config.unlabelled_epochs, seed)
        scores = self.lab.class_scores(classifier, self.texts)
        self._keep(regime, ALL_PATTERNS, seed, scores)

    def fine_tuning(self, regime, seed):
        if self._done(regime, ALL_PATTERNS, seed):
            return
        labelled, _ = self._split(seed)
        classifier, texts = self.lab.classifier(seed), [text for text, _ in labelled]
        targets = self._one_hot(labelled)
        self.lab.train_to_classify(classifier, texts, targets, self.config.epochs, seed)
        scores = self.lab.class_scores(classifier, self.texts)
        self._keep(regime, ALL_PATTERNS, seed, scores)

    def _few_shot_model(self, pattern, seed):
        labelled, _ = self._split(seed)
        model = self.lab.language_model(seed)
        self.lab.train_to_fill(model, pattern, labelled, [], self.config.epochs, seed)
        return model

    def _label(self, pattern, model, seed):
        """Keeps the model's scores of the texts without labels, for `distilled`."""
        scores = self.lab.filled_scores(model, pattern, self._split(seed)[1])
        self.soft_labels[pattern.template, seed] = scores

    def _split(self, seed):
        labelled, texts = self.data.labelled(seed)
        return labelled, texts[: self.config.unlabelled_samples or None]

    def _one_hot(self, labelled):
        rows = [self.lab.labels.index(label) for _, label in labelled]
        return np.eye(len(self.lab.labels), dtype="float32")[rows]

    def _fill(self, regime, seed, pattern, model):
        scores = self.lab.filled_scores(model, pattern, self.texts)
        self._keep(regime, pattern.template, seed, scores)

    def _missing(self, regime, seed):
        return (p for p in self.patterns if not self._done(regime, p.template, seed))

    def _done(self, regime, name, seed):
        return self.experiment.get(regime=regime, pattern=name, seed=seed) is not None

    def _keep(self, regime, name, seed, scores):
        right = int((scores.argmax(1) == self.truth).sum())
        self.experiment.keep({"right": right}, regime=regime, pattern=name, seed=seed)
        print(f"{regime}, {name}, seed {seed}: {right} of {len(self.truth)}", flush=True)

    def table(self):
        """`{regime: {pattern: accuracies of the seeds}}` of what is measured."""
        names = [*(pattern.template for pattern in self.patterns), ALL_PATTERNS]
        rows = {
            regime: {name: self._accuracies(regime, name) for name in names}
            for regime in self.config.regimes
        }
        rows = {r: {name: x for name, x in cells.items() if x} for r, cells in rows.items()}
        return {regime: cells for regime, cells in rows.items() if cells}

    def _accuracies(self, regime, name):
        cells = (
            self.experiment.get(regime=regime, pattern=name, seed=seed)
            for seed in self._seeds(regime)
        )
        return [cell["right"] / len(self.truth) for cell in cells if cell is not None]


def patterns_of(config):
    """The patterns asked for, or the task's."""
    return [Pattern(template) for template in config.patterns or TASKS[config.task][0]]


def _softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return (x / x.sum(-1, keepdims=True)).astype("float32")


# ---- output


def show(table, names):
    """The table in Markdown, accuracies in percent, mean and standard deviation of the seeds."""
    names = [name for name in (*names, ALL_PATTERNS) if any(name in row for row in table.values())]
    titles = [f"P{i}: {name}" if name != ALL_PATTERNS else name for i, name in enumerate(names, 1)]
    print(" | ".join(["", "", *titles, ""]).strip(" "))
    print("|" + "---|" * (len(names) + 1))
    for regime, cells in table.items():
        row = [mean_and_spread(cells.get(name, [])) for name in names]
        print("| " + " | ".join([regime, *row]) + " |")


def draw(table, names, path):
    """Accuracies of all regimes, side by side for every pattern."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for i, (regime, cells) in enumerate(table.items()):
        found = [(j, cells[name]) for j, name in enumerate(names) if name in cells]
        if ALL_PATTERNS in cells:
            found = [(j, cells[ALL_PATTERNS]) for j in range(len(names))]
        x = [j + (i - len(table) / 2) * 0.8 / len(table) for j, _ in found]
        y = [100 * np.mean(values) for _, values in found]
        spread = [100 * np.std(values, ddof=min(1, len(values) - 1)) for _, values in found]
        axes.errorbar(x, y, spread, marker="o", linestyle="none", label=regime)
    labels = [f"P{j + 1}" for j in range(len(names))]
    axes.set(xticks=range(len(names)), xticklabels=labels, ylabel="accuracy, %")
    axes.legend(fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary)


# ---- main


def main(config):
    check_least(config, epochs=1, unlabelled_epochs=1)
    unknown = [regime for regime in config.regimes if regime not in REGIMES]
    if unknown:
        raise ValueError(f"`regimes` must be among {REGIMES}. Received: {unknown[0]!r}")
    lab = FewShot(config, TASKS[config.task][1])
    data = Data(config, lab.labels)
    print(f"{len(data.train)} training texts, {data.size} labelled; {len(data.valid)} held out")
    comparison = Comparison(config, lab, data)
    comparison.run()
    names = [pattern.template for pattern in comparison.patterns]
    table = comparison.table()
    show(table, names)
    draw(table, names, config.output / "table.png")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command goes on with the next cell")
