"""Exact Wasserstein distances of batches, what a critic says of them, and a generator to try it."""

import keras
import numpy as np
from scipy.spatial.distance import cdist

from kexue_keras import similarity


def exact_distance(x, y) -> float:
    """The Wasserstein distance W1 of two sets of samples, all of equal mass.

    Args:
        x: `(n, d)`.
        y: `(m, d)`.

    Example:

    >>> exact_distance(np.array([[0.0], [2.0]]), np.array([[1.0]]))
    1.0
    """
    masses = (np.full(len(part), 1 / len(part)) for part in (x, y))
    return similarity.wasserstein_distance(*masses, cdist(x, y))


def distance_of_batches(x, y, size) -> float:
    """The mean distance of batches: the first ones of both sets, the second ones, and so on.

    Args:
        x: `(n, d)`.
        y: `(n, d)`.
        size: samples in a batch; what is left behind the last whole batch does not count.

    Example:

    >>> distance_of_batches(np.zeros((5, 1)), np.array([[1.0], [1.0], [2.0], [4.0], [9.0]]), 2)
    2.0
    """
    size = min(size, len(x))
    starts = range(0, len(x) - size + 1, size)
    return float(np.mean([exact_distance(x[i : i + size], y[i : i + size]) for i in starts]))


def normal_generator(x) -> keras.Model:
    """A generator of the normal distribution with the mean and covariance of samples `(n, d)`, from
    codes `(batch, d)`.

    Example:

    >>> generator = normal_generator(np.array([[1.0], [3.0], [5.0]]))
    >>> [float(weight.squeeze()) for weight in generator.get_weights()]
    [2.0, 3.0]
    """
    x = np.asarray(x)
    generator = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(x.shape[1])])
    values, vectors = np.linalg.eigh(np.cov(x.T).reshape(x.shape[1], x.shape[1]))
    root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    generator.set_weights([root, x.mean(0)])
    return generator


class DistanceHistory(keras.callbacks.Callback):
    """Compares a critic's estimate with the exact distance of the same batches after every epoch.

    Args:
        x: real samples `(n, d)`, taken `size` at a time.
        size: samples in a batch.
        seed: of the generated ones, the same codes every time.

    `estimated` and `exact` are lists of the means over the batches, a number for each epoch.
    """

    def __init__(self, x, size, seed=0):
        super().__init__()
        size = min(size, len(x))
        self.batches = [x[i : i + size] for i in range(0, len(x) - size + 1, size)]
        self.seed = seed
        self.estimated: list[float] = []
        self.exact: list[float] = []

    def on_epoch_end(self, epoch, logs=None):
        size = len(self.batches[0])
        made = self.model.sample(len(self.batches) * size, self.seed)
        pairs = list(zip(self.batches, np.split(made, len(self.batches)), strict=True))
        self.estimated.append(float(np.mean([self.model.distance(x, y) for x, y in pairs])))
        self.exact.append(float(np.mean([exact_distance(x, y) for x, y in pairs])))
