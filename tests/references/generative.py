"""Formulas of the articles 7725 and 7343 in NumPy, float64, sample by sample."""

import math

import numpy as np

EULER = 0.5772156649015329
NORMAL = 0.5 * math.log(2 * math.pi * math.e)
"""Entropy of a standard normal number."""


def psi(n):
    """Digamma of a positive integer: a harmonic number."""
    return sum(1 / i for i in range(1, n)) - EULER


def distances(x):
    """All pairs, a matrix; infinite from a sample to itself."""
    x = np.asarray(x, "float64")
    found = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in x] for a in x])
    np.fill_diagonal(found, np.inf)
    return found


def knn_entropy(x, k=1):
    n, d = np.shape(x)
    radius = np.sort(distances(x), axis=1)[:, k - 1]
    volume = math.pi ** (d / 2) / math.gamma(d / 2 + 1)
    return d / n * np.log(radius).sum() + math.log(volume) + psi(n) - psi(k)


def knn_entropy_gradient(x, k=1):
    """Every sample is pushed away from its k-th neighbour, and that one from it."""
    x = np.asarray(x, "float64")
    n, d = x.shape
    gradient = np.zeros_like(x)
    for i, row in enumerate(distances(x)):
        j = np.argsort(row)[k - 1]
        push = d / n * (x[i] - x[j]) / row[j] ** 2
        gradient[i] += push
        gradient[j] -= push
    return gradient


def divergence(mean, log_variance):
    """Of N(mean, variance) from N(0, I), per sample."""
    mean, variance = np.asarray(mean, "float64"), np.exp(np.asarray(log_variance, "float64"))
    return 0.5 * (mean**2 + variance - np.log(variance) - 1).sum(-1)


def dense(x, weights):
    """Dense layers with tanh between them; kernels and biases in turn."""
    for i in range(0, len(weights), 2):
        x = (np.tanh(x) if i else x) @ weights[i] + weights[i + 1]
    return x
