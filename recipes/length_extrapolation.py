"""Longer texts than in training: the attention scale 1 / sqrt(d) and the entropy-invariant one.

Task: guess the masked characters of texts of 64 to 1,024 characters, by a transformer with rotary
positions (RoFormer) that was trained on texts of 64 only. With more keys an attention of scale
1 / sqrt(d) spreads out; log(n) / (log(m) sqrt(d)) for n keys keeps it as sharp as it was.
Methods: `sqrt_dim`; `entropy_invariant`, with m the training length; `log_512`, with m = 512 as in
the article. In training the first two are the same function, so one model serves both: they differ
in how it is used.
Data: `data/passages_*`, `math_problems_*`, `reviews_*` (made by this project; easy, and alike); any
text. Texts follow one another, with [SEP] between them, so a long input is a concatenation unless
the texts are long. The test text and its masks are the same at every length, for every scale and
seed: only how much is seen at once differs.
Published (RoFormer small, at 64 / 128 / 256 / 512 / 1,024): 1 / sqrt(d): 43.27 / 36.53 / 23.02 /
15.12 / 11.54 %; log_512(n) / sqrt(d): 43.11 / 41.17 / 34.04 / 20.15 / 13.58 %.
Our results, with their commands: recipes/README.md.
Article: https://kexue.fm/archives/8823; rotary positions: https://kexue.fm/archives/8265

    python recipes/length_extrapolation.py                  # our texts, three minutes
    python recipes/length_extrapolation.py --train cmrc2018_dev.json drcd_dev.json \\
        tnews_unlabeled.jsonl sentiment/train.tsv --valid --hold-out 0.1 --seeds 0 1 2 \\
        --epochs 10 --hidden-size 256 --num-hidden-layers 4 --output runs/length_extrapolation_texts
"""

import dataclasses
import functools
import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from kexue_keras.experiments.command import AFTER_A_CELL, command

import keras
import numpy as np

from kexue_keras import layers
from kexue_keras.datasets.texts import load_texts, not_inside
from kexue_keras.experiments import schedules
from kexue_keras.experiments.comparison import Experiment
from kexue_keras.experiments.fitting import train_to_zero_rate
from kexue_keras.experiments.held_out import load_samples
from kexue_keras.experiments.options import DATA, HeldOut, Table, UsageError, check, options_of
from kexue_keras.experiments.prediction import pad
from kexue_keras.experiments.tables import Figure, show_columns
from kexue_keras.experiments.weights import save_weights, weights_description
from kexue_keras.losses import SequenceCrossentropy
from kexue_keras.patterns import RandomMask

SAMPLES = ("passages_{}.json", "math_problems_{}.jsonl", "reviews_{}.tsv")
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[SEP]", "[MASK]")
UNKNOWN, SEPARATOR, MASK = 1, 2, 3
METHODS = ("sqrt_dim", "entropy_invariant", "log_512")
FIGURES = {"accuracy": Figure("accuracy, %")}
FREE = ("methods", "lengths", "seeds", "output")  # options that the cells do not depend on


@dataclasses.dataclass
class Config(Table, HeldOut):
    """Prints the table scales x lengths; what is measured already is not measured again."""

    train: tuple[Path, ...] = tuple(DATA / name.format("train") for name in SAMPLES)
    """Files of texts: `.json` and `.jsonl` (all strings in them), `.tsv` (all columns), else
    lines; each may be `.xz` or `.gz`."""
    valid: tuple[Path, ...] = tuple(DATA / name.format("valid") for name in SAMPLES)
    min_characters: int = 16
    """Shorter strings of a file are no texts."""
    methods: tuple[str, ...] = METHODS
    train_length: int = 64
    """Characters of a training text."""
    lengths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Characters of a test text, the columns of the table; every one must divide the last."""
    test_tokens: int = 32768
    """Characters to test on, at most."""
    seeds: tuple[int, ...] = (0,)
    vocab_size: int = 6000
    """Characters of the vocabulary, the most frequent ones."""
    hidden_size: int = 128
    """Size of the model; a head has 32."""
    num_hidden_layers: int = 2
    """Depth of the model."""
    epochs: int = 12
    learning_rate: float = 2e-3
    """Adam's; rises over the first tenth of the steps, then falls to zero."""
    output: Path = Path("runs/length_extrapolation")


# ---- data


class Test(NamedTuple):
    """The test text with its masks: token ids, positions that are masked, what stood there."""

    masked: list[int]
    positions: list[int]
    originals: list[int]


class Data:
    """Training chunks as token ids, the test text, and how to mask.

    A training chunk is twice as long as a training text, which then begins anywhere in it.
    """

    def __init__(self, config):
        load = functools.partial(load_texts, least=config.min_characters)
        train, valid = load_samples(config, load, [str], first=True)
        # nor may one stand inside the other, as an answer in its passage
        test = sum(valid.values(), [])
        train = not_inside(train, test)
        test = not_inside(test, train)
        counts = Counter(c for text in train for c in text.lower())
        known = sorted(counts, key=lambda c: (-counts[c], c))[: config.vocab_size]
        self.tokens = [*SPECIAL_TOKENS, *known]
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        self.mask = RandomMask(MASK, range(len(SPECIAL_TOKENS), len(self.tokens)))
        stream, length = self.encode(train), config.train_length
        starts = range(0, len(stream) - 2 * length + 1, length)
        self.train = [stream[i : i + 2 * length] for i in starts]
        longest = config.lengths[-1]
        stream = self.encode(test)
        size = min(len(stream), config.test_tokens) // longest * longest
        if not self.train or not size:
            raise UsageError(
                f"`train` must have {2 * length} characters, `valid` and `test_tokens` {longest}. "
                f"Received: {sum(map(len, train))}, {len(stream)} and {config.test_tokens}"
            )
        self.test = Test(*self.mask(stream[:size], random.Random(0)))
        if not self.test.originals:
            raise UsageError(f"`test_tokens` {size} are too few: none of them is masked")

    def encode(self, texts):
        """Token ids of all texts, one after another, with [SEP] after each."""
        ids = []
        for text in texts:
            ids += [self._ids.get(c, UNKNOWN) for c in text.lower()]
            ids.append(SEPARATOR)
        return ids


# ---- model


def build_model(config, vocab_size, scale):
    """A RoFormer with a masked-LM head at given positions.

    Inputs: token ids `(batch, length)` and positions `(batch, picked)`, int32, 0: padding. Output:
    logits `(batch, picked, vocab_size)`.
    """
    arguments = {"attention_scale": "sqrt_dim" if scale == "sqrt_dim" else "entropy_invariant"}
    arguments["train_length"] = 512 if scale == "log_512" else config.train_length
    normal = keras.initializers.RandomNormal(stddev=0.02)
    tokens = keras.Input((None,), dtype="int32")
    positions = keras.Input((None,), dtype="int32")
    embedding = layers.Embedding(vocab_size, config.hidden_size, normal, mask_zero=True)
    visible = layers.AttentionMask()(tokens)
    x = keras.layers.LayerNormalization()(embedding(tokens))
    for _ in range(config.num_hidden_layers):
        attention = layers.MultiHeadAttention(
            max(1, config.hidden_size // 32), position="rotary", **arguments
        )
        x = keras.layers.LayerNormalization()(x + attention(x, attention_mask=visible))
        x = keras.layers.LayerNormalization()(x + layers.FeedForward(4 * config.hidden_size)(x))
    x = layers.GatherPositions()([x, positions])
    x = keras.layers.Dense(config.hidden_size, activation="gelu")(x)
    logits = embedding(keras.layers.LayerNormalization()(x), mode="dense")
    return keras.Model([tokens, positions], layers.BiasAdd(dtype="float32")(logits))


def train(config, data, scale, seed):
    """A model of this scale, trained on texts of the training length, or its weights of before."""
    keras.utils.set_random_seed(seed)
    model = build_model(config, len(data.tokens), scale)
    path = config.output / f"{scale}-{seed}.weights.h5"
    if weights_description(path) == cells_options(config):
        model.load_weights(path)
        return model
    length = config.train_length

    def mask(sample, rng):
        chunk = sample[0]
        start = rng.randrange(len(chunk) - length + 1)
        return data.mask(chunk[start : start + length], rng)

    def encode(sample):
        ids, positions, originals = sample
        return (ids[:length], positions), originals

    samples, lengths = [(chunk, [], []) for chunk in data.train], (max(1, 3 * length // 8), length)
    schedule = functools.partial(schedules.cosine, rise=10)
    arguments = config, model, SequenceCrossentropy(), samples, encode, lengths, seed
    train_to_zero_rate(*arguments, schedule=schedule, verbose=0, augment=mask)
    save_weights(path, model, cells_options(config))
    return model


# ---- evaluation


def accuracy(model, test, length, tokens=8192):
    """Share of the masked tokens guessed right, of the test text in parts of `length`."""
    rows = np.array(test.masked, "int32").reshape(-1, length)
    places = [[] for _ in rows]
    for position, original in zip(test.positions, test.originals, strict=True):
        places[position // length].append((position % length, original))
    columns = [tuple(zip(*row, strict=True)) or ((), ()) for row in places]
    positions, originals = pad(columns, [(max(map(len, places)),)] * 2, len(rows))
    size, right = max(1, tokens // length), 0
    for i in range(0, len(rows), size):
        part = slice(i, i + size)
        logits = model.predict_on_batch([rows[part], positions[part]])
        right += int(((logits.argmax(-1) == originals[part]) & (originals[part] > 0)).sum())
    return right / len(test.originals)


def compare(config, data, experiment):
    """Measures what is not measured yet; prints and draws the table."""
    # in training, entropy_invariant is sqrt_dim
    sources = {"entropy_invariant": "sqrt_dim"}

    @functools.lru_cache(1)
    def model_of(scale, seed):
        model = train(config, data, sources.get(scale, scale), seed)
        if scale in sources:
            weights, model = model.get_weights(), build_model(config, len(data.tokens), scale)
            model.set_weights(weights)
        return model

    def measure(scale, length, seed):
        return {"accuracy": accuracy(model_of(scale, seed), data.test, length)}

    for seed in config.seeds:
        for scale in config.methods:
            for n in config.lengths:
                name, cell = f"{scale}, length {n}, seed {seed}", {"scale": scale, "length": n}
                experiment.report(name, measure, FIGURES, **cell, seed=seed)
    table = {
        scale: [
            [experiment.get(scale=scale, length=n, seed=s)["accuracy"] for s in config.seeds]
            for n in config.lengths
        ]
        for scale in config.methods
    }
    columns, label = [*map(str, config.lengths)], "accuracy of masked characters, %"
    show_columns("scale", columns, table, label, config.output / "table.png")


def cells_options(config):
    """What the cells depend on, in JSON types."""
    return {**options_of(config, FREE), "longest": config.lengths[-1]}


# ---- main


def main(config):
    check(config, methods=METHODS, min_characters=1, train_length=2)
    if not config.lengths or any(n < 1 or config.lengths[-1] % n for n in config.lengths):
        raise UsageError(f"`lengths` must divide the last of them. Received: {config.lengths}")
    experiment = Experiment(config.output / "results.json", cells_options(config))
    data = Data(config)
    masked = f"{len(data.test.originals)} of {len(data.test.masked)} test characters masked"
    print(f"{len(data.train)} training texts, vocabulary {len(data.tokens)}; {masked}")
    compare(config, data, experiment)


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
