"""Longer texts than in training: the attention scale 1 / sqrt(d) and the entropy-invariant one.

Task: guess the masked characters of texts of 64 to 1,024 characters, by a transformer with rotary
positions (RoFormer) that was trained on texts of 64 only. With more keys an attention of scale
1 / sqrt(d) spreads out; log(n) / (log(m) sqrt(d)) for n keys keeps it as sharp as it was.
Scales: `sqrt_dim`; `entropy_invariant`, with m the training length; `log_512`, with m = 512 as in
the article. In training the first two are the same function, so one model serves both: they differ
in how it is used.
Data: `data/passages_*`, `math_problems_*`, `reviews_*` (made by this project; easy, and alike); any
text. Texts follow one another, with [SEP] between them, so a long input is a concatenation unless
the texts are long. The test text and its masks are the same at every length, for every scale and
seed: only how much is seen at once differs.
Published (RoFormer small, at 64 / 128 / 256 / 512 / 1,024): 1 / sqrt(d): 43.27 / 36.53 / 23.02 /
15.12 / 11.54 %; log_512(n) / sqrt(d): 43.11 / 41.17 / 34.04 / 20.15 / 13.58 %.
Our results, with their commands: README.md, section Results.
Article: https://kexue.fm/archives/8823; rotary positions: https://kexue.fm/archives/8265

    python recipes/length_extrapolation.py                  # our texts, three minutes
    python recipes/length_extrapolation.py --texts cmrc2018_dev.json drcd_dev.json \\
        tnews_unlabeled.jsonl sentiment/train.tsv --test-texts --seeds 0 1 2 --epochs 10 \\
        --hidden-size 256 --num-hidden-layers 4 --output runs/length_extrapolation_texts
"""

import dataclasses
import random
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

# before keras: it turns on TensorFlow's faster matrix products
from kexue_keras import backend, datasets, layers
from kexue_keras.experiments import comparison as experiments

# isort: split
import keras
import numpy as np
import tyro

from kexue_keras.datasets.lines import DataError, parse_json, read_lines
from kexue_keras.losses import SequenceCrossentropy
from kexue_keras.patterns import RandomMask

DATA = Path(__file__).resolve().parent.parent / "data"
SAMPLES = ("passages_{}.json", "math_problems_{}.jsonl", "reviews_{}.tsv")
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[SEP]", "[MASK]")
UNKNOWN, SEPARATOR, MASK = 1, 2, 3
SCALES = ("sqrt_dim", "entropy_invariant", "log_512")


@dataclasses.dataclass
class Config:
    """Prints the table scales x lengths; what is measured already is not measured again."""

    texts: tuple[Path, ...] = tuple(DATA / name.format("train") for name in SAMPLES)
    """Files of texts: `.json` and `.jsonl` (all strings in them), `.tsv` (all columns), else
    lines; each may be `.xz` or `.gz`."""
    test_texts: tuple[Path, ...] = tuple(DATA / name.format("valid") for name in SAMPLES)
    """Files of texts to test on; without any, a tenth of `texts`."""
    min_characters: int = 16
    """Shorter strings of a file are no texts."""
    scales: tuple[str, ...] = SCALES
    """Which rows of the table."""
    train_length: int = 64
    """Characters of a training text."""
    lengths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Characters of a test text, the columns of the table; every one must divide the last."""
    test_tokens: int = 32768
    """Characters to test on, at most."""
    seeds: tuple[int, ...] = (0,)
    """One run of every cell for each; the table shows mean and standard deviation."""
    vocab_size: int = 6000
    """Characters of the vocabulary, the most frequent ones."""
    hidden_size: int = 128
    """Size of the model; a head has 32."""
    num_hidden_layers: int = 2
    """Depth of the model."""
    epochs: int = 12
    """Passes over the training texts."""
    batch_size: int = 32
    """Training texts in a batch."""
    learning_rate: float = 2e-3
    """Adam's; rises over the first tenth of the steps, then falls to zero."""
    output: Path = Path("runs/length_extrapolation")
    """Directory of the results."""


# ---- data


def load_texts(path, least):
    """Different texts of a file, in its order, each of `least` characters or more.

    Raises:
        DataError: the file is not what its name says, or has no text; names file and line.
    """
    kind = [suffix for suffix in path.suffixes if suffix not in (".xz", ".gz")][-1:]
    lines = list(read_lines(path, keep_empty=True))
    if kind == [".json"]:
        found = _strings(parse_json("\n".join(line for _, line in lines), path, 1))
    elif kind == [".jsonl"]:
        rows = [parse_json(line, path, number) for number, line in lines if line]
        found = _strings(rows)
    elif kind == [".tsv"]:
        found = (column for _, line in lines for column in line.split("\t"))
    else:
        found = (line for _, line in lines)
    texts = list(dict.fromkeys(text.strip() for text in found if len(text.strip()) >= least))
    if not texts:
        raise DataError(f"{path}:1: must have a text of {least} characters or more.")
    return texts


def not_inside(texts, others):
    """Those texts that are no part of another of `others`."""
    joined = "\n".join(others)
    return [text for text in texts if text not in joined]


def _strings(document):
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for item in document.values() if isinstance(document, dict) else document:
            yield from _strings(item)


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
        def read(paths):
            return [text for path in paths for text in load_texts(path, config.min_characters)]

        train, test = read(config.texts), read(config.test_texts)
        if not test:
            test, train = datasets.split(train, (0.1, 0.9), key=str)
        # nor may one stand inside the other, as an answer in its passage
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
            raise ValueError(
                f"`texts` must have {2 * length} characters, `test_texts` and `test_tokens` "
                f"{longest}. Received: {sum(map(len, train))}, {len(stream)} and "
                f"{config.test_tokens}"
            )
        self.test = Test(*self.mask(stream[:size], random.Random(0)))
        if not self.test.originals:
            raise ValueError(f"`test_tokens` {size} are too few: none of them is masked")

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
    arguments = {
        "sqrt_dim": {},
        "entropy_invariant": {
            "attention_scale": "entropy_invariant",
            "train_length": config.train_length,
        },
        "log_512": {"attention_scale": "entropy_invariant", "train_length": 512},
    }[scale]
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
    if experiments.about(path) == options_of(config):
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

    batches = datasets.Batches(
        [(chunk, [], []) for chunk in data.train],
        encode,
        min(config.batch_size, len(data.train)),
        (max(1, 3 * length // 8), length),
        seed=seed,
        augment=mask,
        drop_remainder=True,
    )
    steps = config.epochs * len(batches)
    warmup = max(1, steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=config.learning_rate, warmup_steps=warmup
    )
    model.compile(
        keras.optimizers.Adam(rate, clipnorm=1.0),
        SequenceCrossentropy(),
        jit_compile=backend.train_with_xla(),
    )
    model.fit(
        batches, epochs=config.epochs, shuffle=False, callbacks=[batches.callback()], verbose=0
    )
    experiments.save_weights(path, model, options_of(config))
    return model


# ---- evaluation


def accuracy(model, test, length, tokens=8192):
    """Share of the masked tokens guessed right, of the test text in parts of `length`."""
    rows = np.array(test.masked, "int32").reshape(-1, length)
    places = [[] for _ in rows]
    for position, original in zip(test.positions, test.originals, strict=True):
        places[position // length].append((position % length, original))
    most = max(map(len, places))
    positions, originals = np.zeros((2, len(rows), most), "int32")
    for i, row in enumerate(places):
        if row:
            positions[i, : len(row)], originals[i, : len(row)] = zip(*row, strict=True)
    size, right = max(1, tokens // length), 0
    for i in range(0, len(rows), size):
        part = slice(i, i + size)
        logits = model.predict_on_batch([rows[part], positions[part]])
        right += int(((logits.argmax(-1) == originals[part]) & (originals[part] > 0)).sum())
    return right / len(test.originals)


def run(config, data, experiment):
    """Measures what is not measured yet."""
    for seed in config.seeds:
        trained = {}
        for scale in config.scales:
            cells = [{"scale": scale, "length": n, "seed": seed} for n in config.lengths]
            missing = [cell for cell in cells if experiment.get(**cell) is None]
            if not missing:
                continue
            # in training, entropy_invariant is sqrt_dim
            source = "sqrt_dim" if scale == "entropy_invariant" else scale
            if source not in trained:
                trained[source] = train(config, data, source, seed)
            model = trained[source]
            if source != scale:
                model = build_model(config, len(data.tokens), scale)
                model.set_weights(trained[source].get_weights())
            for cell in missing:
                share = accuracy(model, data.test, cell["length"])
                experiment.keep({"accuracy": share}, **cell)
                print(f"{scale}, length {cell['length']}, seed {seed}: {100 * share:.2f} %")
                sys.stdout.flush()


def show(config, experiment):
    """Prints and draws the table: mean and standard deviation over the seeds."""
    table = {
        scale: [
            [experiment.get(scale=scale, length=n, seed=s)["accuracy"] for s in config.seeds]
            for n in config.lengths
        ]
        for scale in config.scales
    }
    rows = [[name, *map(experiments.mean_and_spread, cells)] for name, cells in table.items()]
    print(experiments.markdown_table(["scale", *map(str, config.lengths)], rows))
    percent = {
        name: [[100 * x for x in values] for values in cells] for name, cells in table.items()
    }
    columns = list(map(str, config.lengths))
    path = config.output / "table.png"
    experiments.draw_table(path, columns, percent, "accuracy of masked characters, %")


def options_of(config):
    """What the cells depend on, in JSON types."""
    options = experiments.options_of(config, ("scales", "lengths", "seeds", "output"))
    return {**options, "longest": config.lengths[-1]}


# ---- main


def main(config):
    unknown = [name for name in config.scales if name not in SCALES]
    if unknown:
        raise ValueError(f"`scales` must be among {SCALES}. Received: {unknown[0]!r}")
    if not config.lengths or any(n < 1 or config.lengths[-1] % n for n in config.lengths):
        raise ValueError(f"`lengths` must divide the last of them. Received: {config.lengths}")
    experiments.check_least(config, epochs=1, batch_size=1, min_characters=1, train_length=2)
    experiment = experiments.Experiment(config.output / "results.json", options_of(config))
    data = Data(config)
    print(
        f"{len(data.train)} training texts of {config.train_length} characters, vocabulary "
        f"{len(data.tokens)}; {len(data.test.originals)} of {len(data.test.masked)} test "
        "characters masked"
    )
    run(config, data, experiment)
    show(config, experiment)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command goes on with the next cell")
