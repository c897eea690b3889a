"""Data for the layers that label a sequence, and enumeration of all paths in plain NumPy."""

import itertools

import numpy as np
import pytest
from keras import ops

from kexue_keras import layers

LABELS, LENGTH = 3, 5
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(4, LENGTH, LABELS)).astype("float32") * 2
LENGTHS = [5, 3, 1, 4]
MASK = np.arange(LENGTH) < np.array(LENGTHS)[:, None]
TRANS = RNG.normal(size=(LABELS, LABELS)).astype("float32") * 2
Y = RNG.integers(0, LABELS, (4, LENGTH)).astype("int32")

MAKE = {
    "crf": layers.ConditionalRandomField,
    "memm": lambda **k: layers.MaximumEntropyMarkovModel(bidirectional=False, **k),
    "bi-memm": layers.MaximumEntropyMarkovModel,
}
each = pytest.mark.parametrize("kind", list(MAKE))


def numpy(x):
    return ops.convert_to_numpy(x)


def log_softmax(x):
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


def crf_score(f, g, path):
    return sum(f[k][y] for k, y in enumerate(path)) + sum(
        g[a][b] for a, b in itertools.pairwise(path)
    )


def memm_log_probability(f, g, path):
    total, before = 0.0, None
    for scores, label in zip(f, path, strict=True):
        total += log_softmax(scores if before is None else scores + g[before])[label]
        before = label
    return total


def log_probability(kind, f, g, path):
    f, g = f.astype("float64"), g.astype("float64")
    if kind == "crf":
        paths = itertools.product(range(f.shape[1]), repeat=len(f))
        scores = np.array([crf_score(f, g, p) for p in paths])
        return crf_score(f, g, path) - scores.max() - np.log(np.exp(scores - scores.max()).sum())
    forward = memm_log_probability(f, g, path)
    if kind == "memm":
        return forward
    return (forward + memm_log_probability(f[::-1], g.T, path[::-1])) / 2


def built(kind, trans=TRANS, **arguments):
    layer = MAKE[kind](**arguments)
    layer.build((None, None, len(trans)))
    weights = layer.weights
    if len(weights) == 1:
        weights[0].assign(trans / layer.lr_multiplier)
    return layer
