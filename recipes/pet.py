"""Classification by filling in blanks (PET): five regimes and an ordinary classifier, one table.

Task: `[MASK]满意。` before a review; a masked language model that prefers 很 to 不 says it is good.
Regimes: zero-shot; zero-shot after masked-LM training on texts without labels; few-shot; both at
once (semi-supervised); the original paper's ensemble of patterns, distilled into a classifier; and,
for comparison, that classifier fine-tuned on the same few labels.
Data: `data/reviews_*` and the small BERT in `data/small_zh` (made by this project); any
`text TAB label` file, and FewCLUE's JSON lines.
Published: with about 200 labels 89.31 % against 88.93 % by fine-tuning, 90.09 % semi-supervised.
Our results, with their commands: recipes/README.md.
Article: https://kexue.fm/archives/7764; paper: https://arxiv.org/abs/2001.07676

    python recipes/pet.py                                   # our reviews, about two minutes
    python recipes/pet.py --task tnews --train tnews_train_0.jsonl --valid tnews_dev_0.jsonl
    python recipes/pet.py --config-path BERT/bert_config.json \\
        --checkpoint-path BERT/bert_model.ckpt --dict-path BERT/vocab.txt \\
        --train sentiment/train.tsv --valid sentiment/valid.tsv --learning-rate 1e-5
"""

import dataclasses
from pathlib import Path
from typing import Literal

from kexue_keras.experiments.command import AFTER_A_CELL, command

import numpy as np

from kexue_keras import datasets
from kexue_keras.datasets.lines import read_lines
from kexue_keras.experiments import few_shot
from kexue_keras.experiments.comparison import Experiment
from kexue_keras.experiments.held_out import load_samples
from kexue_keras.experiments.options import DATA, Files, UsageError, check, options_of
from kexue_keras.experiments.tables import Figure, draw_table, markdown_table, mean_and_spread
from kexue_keras.patterns import Pattern

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
    "tnews": (NEWS, dict(zip(NEWS_LABELS, NEWS_WORDS, strict=True))),
}
FREE = ("output", "seeds", "methods")  # options that the cells do not depend on
METHODS = (
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
class Config(few_shot.Options, Files):
    """Prints the table patterns x methods; what is measured already is not measured again."""

    task: Literal["sentiment", "eprstmt", "tnews"] = "sentiment"
    """Patterns and label words."""
    train: tuple[Path, ...] = (DATA / "reviews_train.tsv",)
    valid: tuple[Path, ...] = (DATA / "reviews_valid.tsv",)
    unlabelled: tuple[Path, ...] = ()
    """More files of texts, whose labels, if any, are not looked at."""
    patterns: tuple[str, ...] = ()
    """Other patterns than the task's, such as "[MASK]好。{text}"."""
    methods: tuple[str, ...] = METHODS
    labelled: int = 168
    """Training texts that keep their labels, drawn anew for every seed; 0: all."""
    unlabelled_samples: int = 0
    """Texts without labels per epoch, at most; 0: all."""
    epochs: int = 10
    """Passes over the labelled texts."""
    unlabelled_epochs: int = 1
    """Passes over the texts without labels."""
    temperature: float = 2.0
    """Of the ensemble's soft labels."""
    output: Path = Path("runs/pet")


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
    return [line.split("\t")[0] for _, line in read_lines(path)]


def is_json(path):
    return not {".json", ".jsonl"}.isdisjoint(path.suffixes)


class Data:
    """Held-out texts, and for every seed the labelled ones and the others."""

    def __init__(self, config, labels):
        self.train, valid = load_samples(config, load_texts, [lambda sample: sample[0]])
        self.valid = sum(valid.values(), [])
        more = [text for path in config.unlabelled for text in load_unlabelled(path)]
        held_out = {text for text, _ in self.valid}
        self.more = [text for text in more if text not in held_out]
        self.size = config.labelled or len(self.train)
        self.most = config.unlabelled_samples or None
        for text, label in self.valid + self.train:
            if label not in labels:
                raise UsageError(
                    f"`train` and `valid` must have the labels of `task` {config.task}, "
                    f"{', '.join(labels)}. Received: {label!r} for {text!r}"
                )
        if not 0 < self.size <= len(self.train):
            raise UsageError(
                f"`labelled` must be at most {len(self.train)}, the training texts that are not "
                f"held out. Received: {config.labelled}"
            )

    def labelled(self, seed):
        """Labelled samples and texts without labels."""
        chosen, others = few_shot.draw_labelled(self.train, self.size, seed)
        return chosen, ([text for text, _ in others] + self.more)[: self.most]


# ---- methods


class Comparison:
    """Measures the cells of the table, named by regime, pattern and seed, one by one."""

    def __init__(self, config, lab, data):
        self.config, self.lab, self.data = config, lab, data
        self.templates = config.patterns or TASKS[config.task][0]
        self.texts, labels = zip(*data.valid, strict=True)
        self.truth = np.array([lab.labels.index(label) for label in labels])
        self.soft_labels, self.trained = {}, (None, None)
        options = options_of(config, FREE)
        self.experiment = Experiment(config.output / "results.json", options)

    def run(self):
        """Measures what is not measured yet."""
        shown = {"right": Figure(f"right of {len(self.truth)}:", 1, 0)}
        for method in self.config.methods:
            if method in WITHOUT_LABELS and not self.data.labelled(0)[1]:
                print(f"{method}: left out, because all texts are labelled")
                continue
            for cell in self.cells(method):
                name = f"{method}, {cell['pattern']}, seed {cell['seed']}"
                self.experiment.report(name, self.measure, shown, **cell)

    def cells(self, method):
        """The options of a method's cells."""
        seeds = (0,) if method == "zero-shot" else self.config.seeds
        whole = method in ("distilled", "fine-tuning")
        for seed in seeds:
            for template in (ALL_PATTERNS,) if whole else self.templates:
                yield {"regime": method, "pattern": template, "seed": seed}

    def measure(self, regime, pattern, seed):
        """How many of the held-out texts are classified right."""
        if pattern == ALL_PATTERNS:
            scores = self.lab.class_scores(self.classifier(regime, seed), self.texts)
        else:
            model = self.language_model(regime, pattern, seed)
            scores = self.lab.filled_scores(model, Pattern(pattern), self.texts)
        return {"right": int((scores.argmax(1) == self.truth).sum())}

    def language_model(self, regime, template, seed):
        """The trained language model; without labelled texts it is one for all patterns."""
        name = (regime, seed, template if regime in ("few-shot", "semi-supervised") else None)
        if self.trained[0] == name:
            return self.trained[1]
        model, pattern, config = self.lab.language_model(seed), Pattern(template), self.config
        labelled, texts = self.data.labelled(seed)
        fill = self.lab.train_to_fill
        if regime == "unsupervised":
            fill(model, None, [], texts, config.unlabelled_epochs, seed)
        elif regime == "few-shot":
            fill(model, pattern, labelled, [], config.epochs, seed)
            if "distilled" in config.methods and texts:
                scores = self.lab.filled_scores(model, pattern, texts)
                self.soft_labels[template, seed] = scores
        elif regime == "semi-supervised":
            # labelled texts come as often as in the few-shot regime
            times = max(1, config.epochs // config.unlabelled_epochs)
            fill(model, pattern, labelled * times, texts, config.unlabelled_epochs, seed)
        self.trained = name, model
        return model

    def classifier(self, regime, seed):
        """The trained classifier: of the labels alone, or of the ensemble's soft labels, too."""
        labelled, others = self.data.labelled(seed)
        texts = [text for text, _ in labelled]
        rows = [self.lab.labels.index(label) for _, label in labelled]
        targets, epochs = np.eye(len(self.lab.labels), dtype="float32")[rows], self.config.epochs
        if regime == "distilled":
            for template in self.templates:
                if (template, seed) not in self.soft_labels:
                    self.language_model("few-shot", template, seed)
            scores = np.mean([self.soft_labels.pop((t, seed)) for t in self.templates], 0)
            targets = np.concatenate([targets, softmax(scores / self.config.temperature)])
            texts, epochs = texts + others, self.config.unlabelled_epochs
        model = self.lab.classifier(seed)
        self.lab.train_to_classify(model, texts, targets, epochs, seed)
        return model

    def show(self):
        """Prints and draws the table: accuracy, mean and standard deviation over the seeds."""
        table = {}
        for method in self.config.methods:
            for cell in self.cells(method):
                if (figures := self.experiment.get(**cell)) is not None:
                    row = table.setdefault(method, {}).setdefault(cell["pattern"], [])
                    row.append(figures["right"] / len(self.truth))
        names = [*(f"P{i}: {template}" for i, template in enumerate(self.templates, 1))]
        columns = dict(zip((*self.templates, ALL_PATTERNS), (*names, ALL_PATTERNS), strict=True))
        columns = {n: title for n, title in columns.items() if any(n in r for r in table.values())}
        rows = [[m, *(mean_and_spread(r.get(n, [])) for n in columns)] for m, r in table.items()]
        print(markdown_table(["", *columns.values()], rows))
        points = {
            method: [row.get(template, row.get(ALL_PATTERNS, [])) for template in self.templates]
            for method, row in table.items()
        }
        titles = [name.split(":")[0] for name in names]
        draw_table(self.config.output / "table.png", titles, points, "accuracy, %")


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return (x / x.sum(-1, keepdims=True)).astype("float32")


# ---- main


def main(config):
    check(config, unlabelled_epochs=1, methods=METHODS)
    lab = few_shot.FewShot(config, TASKS[config.task][1])
    data = Data(config, lab.labels)
    print(f"{len(data.train)} training texts, {data.size} labelled; {len(data.valid)} held out")
    comparison = Comparison(config, lab, data)
    comparison.run()
    comparison.show()


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
