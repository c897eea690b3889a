"""Random Gram matrices of a few gradients, degenerate ones included."""

import numpy as np
from contract import to_numpy
from keras import ops, tree
from references import multitask

from kexue_keras import backend

KINDS = (
    "plain", "zero", "equal", "opposite", "scales", "tiny", "near", "one_direction", "rank_two",
    "agreeing",
)  # fmt: skip


def gram_matrices(n, count, seed=0):
    """float32 `(count, n, n)`; matrix number i is of kind i modulo 10."""
    generator = np.random.default_rng((seed, n))
    found = []
    for i in range(count):
        gradients = generator.normal(size=(n, generator.integers(1, 13)))
        kind = KINDS[i % len(KINDS)]
        if kind == "zero":
            gradients[generator.integers(n)] = 0
        elif kind == "equal":
            gradients[n // 2] = gradients[0]
        elif kind == "opposite" and n > 1:
            gradients[1] = -gradients[0]
        elif kind == "scales":
            gradients *= 10.0 ** generator.uniform(-4, 4, (n, 1))
        elif kind == "tiny":
            gradients *= 10.0 ** generator.uniform(-12, 12)
        elif kind == "near" and n > 1:
            gradients[1] = gradients[0] + 1e-3 * generator.normal(size=gradients.shape[1])
        elif kind == "one_direction":
            gradients = gradients[:, :1] * np.ones(3)
        elif kind == "rank_two":
            gradients = generator.normal(size=(n, 2)) @ generator.normal(size=(2, 5))
        elif kind == "agreeing":
            gradients = np.abs(gradients)
        found.append(gradients @ gradients.T)
    return np.array(found).astype("float32")


def tolerance(i):
    return 1e-6


def violation(gram, weights, main):
    """How far weights are from the optimum over those that sum to 1 over `main`.

    The largest of |sum - 1|, -w_i, and what a gain <g_i, u> falls short of, relative to
    ||g_i|| sum_j w_j ||g_j||, which is at most the largest squared norm where the weights sum to 1:
    float32 cannot know it better, whatever the weights, since it rounds them.
    """
    gram, weights = np.asarray(gram, "float64"), np.asarray(weights, "float64")
    in_main = np.isin(np.arange(len(gram)), list(main))
    products, norms = gram @ weights, np.sqrt(gram.diagonal())
    needed = np.where(in_main, weights @ products, 0.0)
    unit = norms * (norms @ weights)
    short = ((needed - products) / np.where(unit > 0, unit, 1.0)).max()
    return max(abs(weights[in_main].sum() - 1), -weights.min(), short)


def excess(gram, weights, main):
    """How much larger the squared norm is than the reference's least, relative to that of the
    parts."""
    gram, weights = np.asarray(gram, "float64"), np.asarray(weights, "float64")
    parts = weights @ np.sqrt(gram.diagonal()) or 1.0
    least = multitask.squared_norm(gram, multitask.mixed(gram, main))
    return (multitask.squared_norm(gram, weights) - least) / parts**2


def in_one_program(function, grams):
    """`function` of every Gram matrix, compiled once."""
    return tree.map_structure(to_numpy, backend.jit(lambda x: ops.map(function, x))(grams))
