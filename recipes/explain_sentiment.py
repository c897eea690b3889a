"""Integrated gradients: which words made the model say that a review is good, or bad?

Task: a classifier of reviews is trained, and its answers for held-out ones are shared out among the
tokens, positive shares to those that speak for "good". Red and blue mark them on a page and in a
picture.
Methods: `integrated`, integrated gradients; `gradient_input`, the gradient at the review times its
embeddings, a single step of them; `gradient_norm`, the length of that gradient; `demo`, what
bert4keras's example computes, which weights the gradient along the path by the embeddings on the
path in place of those of the review, so that shares do not sum to anything; `random`.
Measures: whether shares sum to the difference of the outputs (completeness); how many of the
highest tokens belong to words that are known to decide, and how many of these have the right sign;
and how fast the model loses its answer when the tokens that speak for it are masked one by one.
Data: `data/reviews_*` and the small BERT in `data/small_zh` (made by this project), whose deciding
words are known; any `text TAB label` file with the labels 0 and 1.
Published: pictures, in which negative words are found; no figures.
Our results, with their commands: recipes/README.md.
Article: https://kexue.fm/archives/7533; paper: https://arxiv.org/abs/1703.01365

    python recipes/explain_sentiment.py                          # one seed, a minute or two
    python recipes/explain_sentiment.py --seeds 0 1 2
    python recipes/explain_sentiment.py --font NotoSansCJKsc-Regular.otf
"""

import dataclasses
import functools
from pathlib import Path

from kexue_keras.experiments.command import AFTER_A_CELL, command

import keras
import numpy as np

from kexue_keras import analysis, backend, datasets
from kexue_keras.experiments.buckets import buckets
from kexue_keras.experiments.comparison import compare_methods
from kexue_keras.experiments.few_shot import draw_labelled
from kexue_keras.experiments.fitting import train_to_zero_rate
from kexue_keras.experiments.held_out import load_samples
from kexue_keras.experiments.options import DATA, Files, SmallBert, Table, UsageError, check
from kexue_keras.experiments.prediction import in_parts, pad, predict
from kexue_keras.experiments.pretrained import load_classifier, load_tokenizer
from kexue_keras.experiments.tables import Figure
from kexue_keras.files import replacing

METHODS = ("integrated", "gradient_input", "gradient_norm", "demo", "random")
FREE = ("output", "seeds", "methods", "font", "shown")  # options that the cells do not depend on
EMBEDDING = "Embedding-Token"
TOP = 3
# what our own reviews say of their things, see data/make_reviews.py
WORDS = (
    "很不错", "非常好", "让人喜欢", "比想象的好", "没得挑", "一流", "很用心", "让我惊喜",
    "太差了", "让人失望", "一般般", "不如想象的好", "问题很多", "糟糕", "很马虎", "让我生气",
    "下次还会来", "推荐给大家", "价格也合适", "值得购买", "给五星",
    "再也不来了", "不推荐", "价格还不便宜", "后悔买了", "想退货",
)  # fmt: skip
FIGURES = {
    "accuracy": Figure("right, %"),
    "error": Figure("largest error", 1.0, 5),
    "top": Figure(f"of the highest {TOP} in known words, %"),
    "sign": Figure("of their tokens with the right sign, %"),
    "left": Figure("answer left, %"),
}


@dataclasses.dataclass
class Config(Table, SmallBert, Files):
    """Prints the table of methods; what is measured already is not measured again."""

    train: tuple[Path, ...] = (DATA / "reviews_train.tsv",)
    valid: tuple[Path, ...] = (DATA / "reviews_valid.tsv",)
    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (0,)
    labelled: int = 200
    """Training reviews, drawn anew for every seed."""
    epochs: int = 6
    batch_size: int = 16
    learning_rate: float = 1e-4
    """Adam's at the start, falling to zero; about 2e-5 for a BERT base."""
    maxlen: int = 64
    explained: int = 32
    """Held-out reviews to explain, always the same ones; 0: all."""
    steps: int = 50
    """Points of the integral."""
    baseline: str = "zero"
    """Where the path begins: `zero`, `mean` (of the vocabulary) or `mask` (the token [MASK])."""
    words: tuple[str, ...] = WORDS
    """Words that are known to decide."""
    shown: int = 6
    """Reviews on the page and in the picture."""
    font: Path | None = None
    """File of a font with Chinese characters for the picture; an installed one if not given."""
    output: Path = Path("runs/explain_sentiment")


# ---- data


def load_data(config):
    """Training reviews, and those to explain, `(text, label)`."""
    train, valid = load_samples(config, datasets.load_sentiment, [lambda sample: sample[0]])
    valid = sum(valid.values(), [])
    if config.labelled > len(train):
        raise UsageError(f"`labelled` must be at most {len(train)}. Received: {config.labelled}")
    return train, draw_labelled(valid, config.explained or len(valid), seed=0)[0]


def known_tokens(text, mapping, words):
    """Which tokens, but for [CLS] and [SEP], lie in one of the words.

    Args:
        text: of the review.
        mapping: for every token the places of its characters in the text.
        words: to look for.

    >>> known_tokens("床很不错。", [[0], [1], [2], [3], [4]], ["很不错"]).tolist()
    [False, True, True, True, False]
    """
    inside = np.zeros(len(text) + 1, bool)
    for word in words:
        start = text.find(word)
        while start >= 0:
            inside[start : start + len(word)] = True
            start = text.find(word, start + 1)
    return np.array([bool(inside[places].any()) if places else False for places in mapping], bool)


# ---- model


def goodness(outputs):
    """What is explained: how much rather "good" than "bad"."""
    return outputs[:, 1] - outputs[:, 0]


def demo(steps):
    """The integral of bert4keras's example: the gradient at `a` counts `a` times."""
    points = np.linspace(0, 1, steps)
    return points, points / steps


class Explained:
    """A classifier trained with one seed, and the reviews that it is asked about."""

    def __init__(self, config, train, reviews, seed):
        keras.utils.set_random_seed(seed)
        self.config, self.seed = config, seed
        self.tokenizer = load_tokenizer(config)
        self.model = load_classifier(config, 2)
        path = config.output / f"seed-{seed}.weights.h5"
        if path.exists():
            self.model.load_weights(path)
        else:
            self._train(draw_labelled(train, config.labelled, seed)[0])
            with replacing(path) as temporary:
                self.model.save_weights(temporary)
        self.model.compile(None, jit_compile=backend.train_with_xla())
        self.texts, labels = zip(*reviews, strict=True)
        self.labels = np.array(labels)
        self.rows = [self.encode(text) for text in self.texts]
        # one length for all of them: every other one would be compiled anew
        longest = max(len(token_ids) for token_ids, _ in self.rows)
        self.length = min(8 * -(-longest // 8), config.maxlen)
        scores = self.goodness(self.rows)
        # the answer of the model: 1, good, or -1
        self.answers = np.where(scores > 0, 1, -1)
        self.accuracy = float(np.mean((scores > 0) == self.labels))
        self.tokens = [self.tokenizer.tokenize(t, maxlen=config.maxlen)[1:-1] for t in self.texts]

    def encode(self, text):
        """Token and segment ids."""
        return self.tokenizer.encode(text, maxlen=self.config.maxlen)

    def goodness(self, rows):
        """How much rather "good" than "bad" encoded reviews are."""
        return goodness(predict(self.model, rows, (self.length,)))

    def _train(self, samples):
        def encode(sample):
            return self.encode(sample[0]), sample[1]

        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        train_to_zero_rate(
            self.config,
            self.model,
            loss,
            samples,
            encode,
            buckets(self.config.maxlen, step=16),
            self.seed,
            verbose=0,
        )

    def attributions(self, steps=1, rule="gauss_legendre"):
        """For every review the shares of its tokens, the lengths of their mean gradients, and the
        error of completeness; [CLS] and [SEP] stay as they are."""
        ids = {"mask": self.tokenizer.token_to_id("[MASK]"), "mean": "mean", "zero": None}

        def explain(rows):
            inputs = pad(rows, [(self.length,)] * 2, len(rows))
            moving = np.zeros(inputs[0].shape, bool)
            for row, (token_ids, _) in zip(moving, rows, strict=True):
                row[1 : len(token_ids) - 1] = True
            found = analysis.integrated_gradients(
                self.model,
                inputs,
                goodness,
                ids[self.config.baseline],
                steps,
                EMBEDDING,
                rule=rule,
                mask=moving,
            )
            norms = np.linalg.norm(found.gradients, axis=-1)
            values = zip(found.tokens, norms, found.error, strict=True)
            return [
                (shares[1 : len(row[0]) - 1], norm[1 : len(row[0]) - 1], float(error))
                for row, (shares, norm, error) in zip(rows, values, strict=True)
            ]

        return in_parts(lambda rows, _: explain(rows), self.rows)

    def scores(self, method):
        """Scores of the tokens of every review, for the answer that it got where they have a sign,
        and the largest error of completeness, None where nothing is to be complete."""
        if method == "random":
            rng = np.random.default_rng(self.seed)
            return [rng.random(len(row[0]) - 2) for row in self.rows], None
        rules = {"integrated": (self.config.steps, "gauss_legendre"), "demo": (20, demo)}
        found = self.attributions(*rules.get(method, (1, "right")))
        if method == "gradient_norm":
            return [norms for _, norms, _ in found], None
        shares = [shares for shares, _, _ in found]
        scores = [a * x for a, x in zip(self.answers, shares, strict=True)]
        return scores, max(error for _, _, error in found)

    def deletion(self, scores, most=10):
        """The mean probability of the answer, 0, 1, 2, ... of the highest tokens being [MASK]."""
        mask, rows = self.tokenizer.token_to_id("[MASK]"), []
        for deleted in range(most + 1):
            for (token_ids, segment_ids), row in zip(self.rows, scores, strict=True):
                token_ids = np.array(token_ids)
                token_ids[1 + np.argsort(-row)[:deleted]] = mask
                rows.append((token_ids.tolist(), segment_ids))
        margins = self.goodness(rows).reshape(most + 1, -1)
        return (1 / (1 + np.exp(-self.answers * margins.astype("float64")))).mean(1)


# ---- evaluation


def measure(config, explained, curves, experiment, method, seed):
    """The figures of a method, of the classifier of one seed; its fading goes to `curves`."""
    subject = explained(seed)
    scores, error = subject.scores(method)
    figures = {"accuracy": subject.accuracy}
    if error is not None:
        figures["error"] = error
    top, signs = [], []
    for text, row in zip(subject.texts, scores, strict=True):
        tokens = subject.tokenizer.tokenize(text, maxlen=config.maxlen)
        mapping = subject.tokenizer.rematch(text, tokens)[1:-1]
        known = known_tokens(text, mapping, config.words)
        if known.any():
            top += known[np.argsort(-row)[:TOP]].tolist()
            signs += (row[known] > 0).tolist()
    if top:
        figures["top"] = float(np.mean(top))
        if error is not None:
            figures["sign"] = float(np.mean(signs))
    curve = subject.deletion(scores)
    figures["left"] = float(curve[1:].mean())
    curves[method, seed] = curve
    if method == "integrated" and seed == config.seeds[0]:
        show(config, subject, scores)
    return figures


def show(config, subject, scores):
    """Writes the page and the picture of some reviews; prints their highest tokens."""
    chosen = range(min(config.shown, len(scores)))
    tokens = [subject.tokens[i] for i in chosen]
    shares = [subject.answers[i] * scores[i] for i in chosen]
    captions, labels = [], subject.labels
    for i in chosen:
        answer, truth = ("good" if x > 0 else "bad" for x in (subject.answers[i], labels[i]))
        wrong = "" if answer == truth else f", it is {truth}"
        captions.append(f"the model says {answer}{wrong}")
        highest = " ".join(subject.tokens[i][j] for j in np.argsort(-scores[i])[:TOP])
        print(f"  {'✓' if answer == truth else '✗'} {answer}: {highest} | {subject.texts[i][:50]}")
    page, picture = (config.output / f"attributions.{ending}" for ending in ("html", "png"))
    options = {"captions": captions, "ends": ("bad", "good")}
    analysis.attribution_html(tokens, shares, page, title="Which words decide?", **options)
    analysis.attribution_picture(tokens, shares, picture, font=config.font, **options)
    print(f"page: {page}; picture: {picture if picture.exists() else 'none, for want of a font'}")


def draw_deletion(path, curves):
    """Draws how the answer fades, the mean over the seeds of every method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.5), layout="constrained")
    axes = figure.subplots()
    for method in METHODS:
        found = [curve for (name, _), curve in curves.items() if name == method]
        if found:
            axes.plot(100 * np.mean(found, 0), marker=".", label=method)
    axes.set(xlabel="highest tokens masked", ylabel="probability of the answer, %", ylim=(0, 103))
    axes.legend(fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary)


# ---- main


def main(config):
    check(config, methods=METHODS, steps=1, explained=0, shown=0, labelled=2)
    check(config, baseline=("zero", "mean", "mask"))
    train, reviews = load_data(config)
    print(f"{config.labelled} of {len(train)} reviews to train, {len(reviews)} to explain")
    explained = functools.lru_cache(functools.partial(Explained, config, train, reviews))
    curves = {}
    measured = functools.partial(measure, config, explained, curves)
    compare_methods(config, FREE, measured, FIGURES)
    if curves:
        draw_deletion(config.output / "deletion.png", curves)


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
