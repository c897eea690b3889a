"""Handwritten digits out of nothing: autoencoders with codes from N(0, I), and Wasserstein GANs.

Task: learn from about a thousand digits of 8 x 8 grey values to write others.
Methods: `vae`, the variational autoencoder: every digit is coded as an ellipse, and the divergence
pulls the ellipses to the unit circle; `vae_without_kl`, the same without that; `cvae`, which is
told the digit it is to write; `entropic`, an autoencoder without noise whose normalized codes get
the largest entropy; five Wasserstein GANs, whose critics are bound by clipped weights (`clip`), by
a penalty on the slope with the centre 1 or 0 (`gradient_penalty`, `zero_centred`), by spectral
norms (`spectral`), or not at all (`c_transform`); and what learns no model: `data`, digits of
training; `centroids`, those of k-means; `mean`, of all digits.
Measures: how often the nearest neighbour of a digit, among held-out and new ones, is of its own
kind (50 % is best); squared kernel discrepancy (0 is best); share of the new digits that lie among
held-out ones (precision), and the other way round (recall); the Wasserstein distance W1 of batches
of new digits from batches of held-out ones, and what a critic estimates of the same batches: while
its GAN trains, and with a generator that stands still (of a normal distribution with the mean and
covariance of the digits); and the discrepancy of the codes of held-out digits from N(0, I).
Data: the digits that come with scikit-learn; any file of lines of 64 numbers from 0 to 16 and the
digit, such as UCI's optdigits.tra.
Published: pictures only. Our results, with their commands: recipes/README.md.
Articles: https://kexue.fm/archives/7725 (the geometry of the variational autoencoder),
https://kexue.fm/archives/7343 (the entropic one), https://kexue.fm/archives/8244 (WGAN)

    python recipes/generative_digits.py                           # one seed, some minutes
    python recipes/generative_digits.py --seeds 0 1 2 --measure-on test --output runs/digits_test
    python recipes/generative_digits.py --methods data centroids gradient_penalty c_transform
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Literal

from kexue_keras.experiments.command import AFTER_A_CELL, command

import keras
import numpy as np
from keras import layers

from kexue_keras import backend, datasets, metrics
from kexue_keras.datasets.digits import SIDE
from kexue_keras.experiments import pictures, schedules
from kexue_keras.experiments.comparison import compare_methods
from kexue_keras.experiments.options import Files, Table, UsageError, check, read_json
from kexue_keras.experiments.tables import Figure
from kexue_keras.experiments.transport import DistanceHistory, distance_of_batches, normal_generator
from kexue_keras.files import replacing, write_text
from kexue_keras.models import EntropicAutoencoder, VariationalAutoencoder, WassersteinGAN

FIGURES = {
    "neighbour": Figure("nearest neighbour, %"),
    "mmd": Figure("discrepancy x 1000", 1000.0, 1),
    "precision": Figure("precision, %"),
    "recall": Figure("recall, %"),
    "distance": Figure("W1 of batches", 1.0, 3),
    "static": Figure("estimate / W1, generator still", 1.0),
    "ratio": Figure("estimate / W1, training", 1.0),
    "code": Figure("discrepancy of codes x 1000", 1000.0, 1),
    "error": Figure("squared error of held-out digits", 1.0),
    "wanted": Figure("digit as wanted, %"),
}
FREE = ("output", "seeds", "methods")  # options that the cells do not depend on
TRAIN, VALID = 1024, 384  # of scikit-learn's 1,797 digits; the others are the test set
LINE = 20  # digits in a line of a picture, of which there are two
AUTOENCODERS = ("vae_without_kl", "vae", "cvae", "entropic")
GANS = {
    "clip": {"lipschitz": "clip", "clip": 0.03},
    "gradient_penalty": {"lipschitz": "gradient_penalty"},
    "zero_centred": {"lipschitz": "gradient_penalty", "center": 0.0},
    "spectral": {"lipschitz": "spectral"},
    "c_transform": {"lipschitz": "c_transform"},
}
METHODS = ("data", "centroids", "mean", *AUTOENCODERS, *GANS)
# those of the first run, which is to take few minutes
SHOWN = ("data", "centroids", "vae_without_kl", "vae", "entropic", "c_transform")
REACH, ROWS = 2.4, 13  # of the codes in the plane that are decoded: how far, how many each way


@dataclasses.dataclass
class Config(Table, Files):
    """Draws new digits and ellipses, prints the table methods x figures; what is measured already
    is not measured again. Without `train`, scikit-learn's digits, always split the same way."""

    methods: tuple[str, ...] = SHOWN
    seeds: tuple[int, ...] = (0,)
    measure_on: Literal["valid", "test"] = "valid"
    """Which held-out digits the new ones are compared with; choose options on `valid`. Only
    scikit-learn's have a test set."""
    epochs: int = 80
    batch_size: int = 64
    learning_rate: float = 2e-3
    """Adam's at the start, falling to zero."""
    code_size: int = 8
    """Numbers in a code."""
    hidden_size: int = 256
    """Of both hidden layers of encoder and decoder."""
    kl_weight: float = 1.0
    """Factor of the divergence; the article's loss has 1."""
    entropy_weight: float = 1.0
    """Factor of the entropy."""
    critic_steps: int = 3
    """Steps of a critic for each of its generator."""
    gan_rate: float = 1e-3
    """Adam's at the start, of both parts of a GAN, falling to zero."""
    output: Path = Path("runs/generative_digits")


# ---- data


def load_data(config):
    """Training digits and held-out ones, each pictures `(n, 64)` and labels."""
    if bool(config.train) != bool(config.valid) or (config.train and config.measure_on == "test"):
        raise UsageError(
            "`train` and `valid` must both be files or both be left out, and files have no test "
            f"set. Received: train {config.train}, valid {config.valid}, {config.measure_on!r}"
        )
    if config.train:
        return [_load(paths) for paths in (config.train, config.valid)]
    digits = _load([None])
    order = np.random.default_rng(0).permutation(len(digits[0]))
    train, valid, test = np.split(order, [TRAIN, TRAIN + VALID])
    held_out = {"valid": valid, "test": test}[config.measure_on]
    return [tuple(part[chosen] for part in digits) for chosen in (train, held_out)]


def _load(paths):
    found = [datasets.load_digits(path) for path in paths]
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


# ---- models


def network(inputs, hidden_size, *heads):
    """Two hidden layers and the outputs; a second input is a condition."""
    x = layers.Concatenate()(inputs) if len(inputs) > 1 else inputs[0]
    for _ in range(2):
        x = layers.Dense(hidden_size, "relu")(x)
    outputs = [head(x) for head in heads]
    one = lambda parts: parts if len(parts) > 1 else parts[0]  # noqa: E731
    return keras.Model(one(inputs), one(outputs))


def encoder_and_decoder(config, code_size, outputs, conditional=False):
    """The two parts of an autoencoder; the condition is the digit, one-hot."""
    more = [10] if conditional else []
    heads = [layers.Dense(code_size) for _ in range(outputs)]
    shapes = [[keras.Input((size,)) for size in (n, *more)] for n in (SIDE * SIDE, code_size)]
    return (
        network(shapes[0], config.hidden_size, *heads),
        network(shapes[1], config.hidden_size, layers.Dense(SIDE * SIDE, "sigmoid")),
    )


def fit(config, model, x):
    """Adam, its rate falling to zero; the history. No batch is smaller than the others."""
    inputs = keras.tree.flatten(x)
    size = min(config.batch_size, len(inputs[0]))
    steps = len(inputs[0]) // size
    x = keras.tree.map_structure(lambda part: part[: steps * size], x)
    rate = schedules.linear(config.learning_rate, config.epochs * steps)
    model.compile(keras.optimizers.Adam(rate), jit_compile=backend.train_with_xla())
    return model.fit(x, batch_size=size, epochs=config.epochs, verbose=0).history


# ---- methods: each takes `(config, train, held_out, seed)` and returns a `Result`


@dataclasses.dataclass
class Result:
    """What a method made: new digits, as many as are held out; history; figures of its own."""

    samples: np.ndarray
    history: dict[str, list[float]]
    figures: dict[str, float]


def show_data(config, train, held_out, seed):
    """Digits of training, in place of new ones."""
    chosen = np.random.default_rng(seed).permutation(len(train[0]))[: len(held_out[0])]
    return Result(train[0][chosen], {}, {})


def fit_vae(config, train, held_out, seed, weight=None, conditional=False):
    """The three variational ones; new digits of `cvae` have the labels of the held-out ones."""
    parts = encoder_and_decoder(config, config.code_size, 2, conditional)
    weight = config.kl_weight if weight is None else weight
    vae = VariationalAutoencoder(*parts, "bce", weight, conditional, seed)
    wanted = [np.eye(10, dtype="float32")[y] if conditional else None for _, y in (train, held_out)]
    history = fit(config, vae, [train[0], wanted[0]] if conditional else train[0])
    x, wanted = held_out[0], wanted[1]
    mean, deviation = vae.posterior(x, wanted)
    codes = mean + deviation * normal(len(x), config.code_size, seed)
    samples = vae.sample(len(x), wanted, seed=seed)
    figures = figures_of_codes(codes, vae.decode(mean, wanted), x)
    if conditional:
        figures["wanted"] = np.mean(nearest_label(train, samples) == held_out[1])
    return Result(samples, history, figures)


def fit_entropic(config, train, held_out, seed):
    """The entropic autoencoder."""
    parts = encoder_and_decoder(config, config.code_size, 1)
    eae = EntropicAutoencoder(*parts, config.entropy_weight, reconstruction="bce", momentum=0.9)
    history = fit(config, eae, train[0])
    codes = eae.encode(held_out[0])
    figures = figures_of_codes(codes, eae.decode(codes), held_out[0])
    return Result(eae.sample(len(codes), seed=seed), history, figures)


def show_centroids(config, train, held_out, seed, count=None):
    """Centroids of k-means, as many as are in a batch or `count`, over and over."""
    from sklearn.cluster import KMeans

    count = min(count or config.batch_size, len(train[0]))
    found = KMeans(count, n_init=1, random_state=seed).fit(train[0]).cluster_centers_
    found = np.random.default_rng(seed).permutation(found).astype("float32")
    return Result(np.resize(found, held_out[0].shape), {}, {})


def fit_gan(config, train, held_out, seed, **options):
    """The five GANs: first the critic alone, then a generator with a critic that is new."""
    size = min(config.batch_size, len(train[0]), len(held_out[0]))
    x = train[0][: len(train[0]) // size * size]
    gan = gan_around(config, normal_generator(train[0]), len(x) // size, 0.0, 1, seed, options)
    gan.fit(x, batch_size=size, epochs=config.epochs, verbose=0)
    still = DistanceHistory(held_out[0], size, seed)
    still.set_model(gan)
    still.on_epoch_end(0)

    head = layers.Dense(SIDE * SIDE, "sigmoid")
    generator = network([keras.Input((config.code_size,))], config.hidden_size, head)
    steps = config.critic_steps
    gan = gan_around(config, generator, len(x) // size, config.gan_rate, steps, seed, options)
    watched = DistanceHistory(x[: 2 * size], size, seed)
    gan.fit(x, batch_size=size, epochs=config.epochs, verbose=0, callbacks=[watched])
    samples = gan.sample(len(held_out[0]), seed=seed)
    latter = np.array([watched.estimated, watched.exact])[:, config.epochs // 2 :]
    figures = {
        "static": still.estimated[0] / still.exact[0],
        "ratio": float(np.mean(latter[0] / latter[1])),
    }
    return Result(samples, {"exact": watched.exact, "estimated": watched.estimated}, figures)


def gan_around(config, generator, steps, rate, critic_steps, seed, options):
    """A compiled GAN with a new critic; `rate` is the generator's."""
    critic = network([keras.Input((SIDE * SIDE,))], config.hidden_size, layers.Dense(1))
    gan = WassersteinGAN(generator, critic, critic_steps=critic_steps, seed=seed, **options)
    steps *= config.epochs
    rates = (rate, steps), (config.gan_rate, steps * critic_steps)
    adams = (keras.optimizers.Adam(schedules.linear(*pair), beta_1=0.5) for pair in rates)
    gan.compile(*adams, jit_compile=backend.train_with_xla())
    return gan


FIT = {
    "data": show_data,
    "centroids": show_centroids,
    "mean": functools.partial(show_centroids, count=1),
    "vae_without_kl": functools.partial(fit_vae, weight=0.0),
    "vae": fit_vae,
    "cvae": functools.partial(fit_vae, conditional=True),
    "entropic": fit_entropic,
    **{name: functools.partial(fit_gan, **options) for name, options in GANS.items()},
}


# ---- measures and pictures


def normal(n, size, seed):
    """Codes from N(0, I)."""
    return np.random.default_rng([seed, 1]).normal(size=(n, size))


def figures_of_codes(codes, decoded, x):
    """How far codes are from N(0, I), and decoded digits from what was coded."""
    found = metrics.kernel_mmd(normal(len(codes), codes.shape[1], 7), codes, "gaussian")
    return {"code": found, "error": float(((decoded - x) ** 2).sum(1).mean())}


def nearest_label(train, samples):
    """The label of the nearest digit of training."""
    squares = ((samples[:, None] - train[0][None]) ** 2).sum(2)
    return train[1][squares.argmin(1)]


def measures(config, held_out, samples):
    """Figures of new digits beside as many held-out ones."""
    precision, recall = metrics.precision_and_recall(held_out, samples)
    return {
        "neighbour": metrics.nearest_neighbour_accuracy(held_out, samples),
        "mmd": metrics.kernel_mmd(held_out, samples),
        "precision": precision,
        "recall": recall,
        "distance": distance_of_batches(held_out, samples, config.batch_size),
    }


def measure(config, train, held_out, experiment, method, seed):
    """Trains by one method with one seed; draws its curves, keeps its digits for the picture."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    result = FIT[method](config, train, held_out, seed)
    if method in GANS:
        write_text(config.output / f"distances_{method}.json", json.dumps(result.history) + "\n")
    elif result.history:
        path = config.output / f"curves_{method}.png"
        pictures.draw_curves(path, result.history, method)
    with replacing(samples_path(config, method)) as temporary:
        np.save(temporary, result.samples[: 2 * LINE])
    return measures(config, held_out[0], result.samples) | result.figures


def samples_path(config, method):
    return config.output / f"samples_{method}.npy"


def draw(config, train, held_out):
    """Draws the new digits of all methods, what critics estimated, and what the divergence does to
    codes in the plane."""
    rows = {name: np.load(samples_path(config, name)) for name in config.methods}
    rows = {name: x.reshape(-1, SIDE, SIDE) for name, x in rows.items()}
    pictures.draw_samples(config.output / "samples.png", rows, LINE)
    names = [name for name in config.methods if name in GANS]
    if names:
        paths = [config.output / f"distances_{name}.json" for name in names]
        lines = {name: read_json(path) for name, path in zip(names, paths, strict=True)}
        pictures.draw_estimates(config.output / "distances.png", lines, "W1 of two batches")
    path, panels = config.output / "ellipses.png", []
    if path.exists() or not set(config.methods) & set(AUTOENCODERS):
        return
    for weight, title in ((0.0, "without the divergence"), (config.kl_weight, "with it")):
        keras.utils.set_random_seed(0)
        parts = encoder_and_decoder(config, 2, 2)
        vae = VariationalAutoencoder(*parts, "bce", weight, seed=0)
        fit(config, vae, train[0])
        decoded = vae.decode(pictures.plane(REACH, ROWS)).reshape(-1, SIDE, SIDE)
        panels.append((title, *vae.posterior(held_out[0]), decoded))
    pictures.draw_codes(path, panels, held_out[1], REACH)


# ---- main


def main(config):
    least = {"code_size": 1, "hidden_size": 1, "critic_steps": 1}
    check(config, methods=METHODS, kl_weight=0, entropy_weight=0, **least)
    train, held_out = load_data(config)
    print(f"{len(train[0])} training digits, {len(held_out[0])} held out")
    compare_methods(config, FREE, functools.partial(measure, config, train, held_out), FIGURES)
    draw(config, train, held_out)
    print(f"pictures: {config.output}/samples.png, distances.png, ellipses.png, curves_*.png")


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
