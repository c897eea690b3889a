"""Weights of tasks in NumPy: loss weighting (8870), min-norm (8896), auxiliary tasks (8907).

Written from the articles alone: https://kexue.fm/archives/8870, 8896 and 8907. A Gram matrix holds
the inner products of the tasks' gradients, `gram = gradients @ gradients.T`. Optimal weights need
not be unique where it is singular (the combined gradient is): compare `squared_norm`, or
violations, and not weights.
"""

import itertools

import numpy as np
from scipy.optimize import nnls


def equal_weights(losses):
    return np.ones(len(losses))


def inverse_weights(losses):
    """1 / L_i (SPEC C10, 8870): of the first losses "initial", of the prior's losses "prior", of
    the losses now "geometric": the gradient of sum log L_i."""
    return 1.0 / np.asarray(losses, "float64")


def initial_loss(labels, classes=None):
    """The loss of a model that knows nothing: log K of K classes, E||y||^2 of numbers."""
    return np.log(classes) if classes else np.mean(squares(np.asarray(labels, "float64")))


def prior_loss(labels, classes=None):
    """The loss of the best constant: the entropy of the labels, or their variance."""
    labels = np.asarray(labels)
    if classes:
        share = np.bincount(labels, minlength=classes) / len(labels)
        share = share[share > 0]
        return -np.sum(share * np.log(share))
    return np.mean(squares(labels - labels.mean(0)))


def squares(rows):
    """||y||^2 of each row."""
    return np.sum(rows.reshape(len(rows), -1) ** 2, 1)


def generalized_mean(losses, gamma):
    """(mean L_i^gamma)^(1 / gamma); gamma = 0 is the geometric mean, infinite ones max and min."""
    logs = np.log(np.asarray(losses, "float64"))
    if gamma == 0:
        return np.exp(logs.mean())
    if np.isinf(gamma):
        return np.exp(logs.max() if gamma > 0 else logs.min())
    top = (gamma * logs).max()
    return np.exp((top + np.log(np.mean(np.exp(gamma * logs - top)))) / gamma)


def generalized_mean_weights(losses, gamma):
    """Derivatives of the generalised mean M: w_i = (L_i / M)^(gamma - 1) / n, finite gamma."""
    losses = np.asarray(losses, "float64")
    logs = np.log(losses) - np.log(generalized_mean(losses, gamma))
    return np.exp((gamma - 1) * logs) / len(losses)


def gradient_norm_weights(gradients):
    """1 / ||g_i||, and 0 for a zero gradient; `gradients` has a row a task."""
    norms = np.sqrt(np.sum(np.asarray(gradients, "float64") ** 2, 1))
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)


def combine(gradients, weights):
    """sum_i w_i g_i, the direction of the update but for its sign."""
    return np.asarray(weights, "float64") @ np.asarray(gradients, "float64")


def squared_norm(gram, weights):
    """||sum_i w_i g_i||^2."""
    return float(weights @ np.asarray(gram, "float64") @ weights)


def two_task_weight(g1, g2):
    """alpha_1 of two tasks: <g2 - g1, g2> / ||g1 - g2||^2 in [0, 1] (SPEC C11, 8896)."""
    difference = g2 - g1
    length = difference @ difference
    return float(np.clip(difference @ g2 / length, 0, 1)) if length > 0 else 0.5


def min_norm_weights_frank_wolfe(gram, steps, line_search=True):
    """Frank-Wolfe from uniform weights (SPEC C11, 8896).

    tau = argmin_i <g_i, u>, then a step from alpha to the corner e_tau: the best one (formula of
    two tasks), or 1 / (k + 1), k = 1, 2, ... It comes near the optimum slowly: about 1e-3.
    """
    gram = np.asarray(gram, "float64")
    alpha = np.full(len(gram), 1 / len(gram))
    for k in range(1, steps + 1):
        products = gram @ alpha
        tau = int(products.argmin())
        step = 1 / (k + 1)
        if line_search:
            squared = alpha @ products
            length = squared - 2 * products[tau] + gram[tau, tau]
            step = np.clip((squared - products[tau]) / length, 0, 1) if length > 0 else 0.0
        alpha = (1 - step) * alpha
        alpha[tau] += step
    return alpha


def mixed(gram, group):
    """Exact weights that minimise ||sum_i w_i g_i||^2: w >= 0, of sum 1 over `group` (8896, 8907).

    The mixed version of SPEC C12: tasks of `group` share a simplex, the others have lambda >= 0.
    All supports are tried, their negative weights set to zero. For one of them the equations of
    Lagrange have one solution, and it is an optimum, also where the Gram matrix is singular; so
    the best of these feasible points is one. Exact means up to the rounding of the Gram matrix,
    which shows where gradients are opposite but for their last digits.

    Args:
        gram: (n, n), n at most 8 or so.
        group: indices of the tasks in the simplex, at least one.
    """
    gram = np.asarray(gram, "float64")
    norms = np.sqrt(np.maximum(np.diag(gram), 0))
    in_group = np.isin(np.arange(len(gram)), list(group))
    zero = np.flatnonzero(in_group & (norms == 0))
    if len(zero):
        return np.eye(len(gram))[zero[0]]
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    cosines = gram * scale * scale[:, None]
    tasks = np.flatnonzero(norms > 0)
    best, least = None, np.inf
    for size in range(1, len(tasks) + 1):
        for support in map(list, itertools.combinations(tasks, size)):
            if not in_group[support].any():
                continue
            weights = np.zeros(len(gram))
            weights[support] = stationary(cosines, scale, in_group, support)
            weights = np.maximum(weights, 0)
            total = weights[in_group].sum()
            if not total > 0:
                continue
            weights = weights / total
            value = squared_norm(gram, weights)
            if value < least:
                best, least = weights, value
    return best


def stationary(cosines, scale, in_group, support):
    """The solution of 2 G w = mu 1_group, 1_group w = 1 on a support, for w = scale * b."""
    n = len(support)
    side = (scale * in_group)[support]
    top = side.max()
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = cosines[np.ix_(support, support)]
    system[:n, n] = system[n, :n] = side / top
    right = np.eye(n + 1)[n]
    solution = np.linalg.lstsq(system, right, rcond=1e-14)[0]
    return scale[support] * solution[:n] / top


def min_norm_weights_active_set(gram):
    """Exact weights of the simplex of the smallest ||sum alpha_i g_i|| (SPEC C11, 8896)."""
    return mixed(gram, range(len(gram)))


def auxiliary_weights_active_set(gram, main=0):
    """Exact lambda >= 0 of the tasks but `main`, in their order, n - 1 numbers (SPEC C12, 8907)."""
    return np.delete(mixed(gram, [main]), main)


def auxiliary_weights_nnls(gradients, main=0):
    """The same by SciPy: min ||g_main + sum lambda_i g_i|| over lambda >= 0; a row a task."""
    gradients = np.asarray(gradients, "float64")
    others = np.delete(gradients, main, 0)
    norms = np.sqrt(np.sum(others**2, 1))
    weights = np.zeros(len(others))
    length = np.sqrt(np.sum(gradients[main] ** 2))
    used = norms > 0
    if length > 0 and used.any():
        units = others[used] / norms[used, None]
        weights[used] = nnls(units.T, -gradients[main] / length)[0] * length / norms[used]
    return weights


def gradients_of(gram):
    """Gradients, a row a task, that have this Gram matrix."""
    values, vectors = np.linalg.eigh(np.asarray(gram, "float64"))
    return vectors * np.sqrt(np.maximum(values, 0))


def kkt_violation_min_norm(gram, weights, floor=1e-12):
    """How far weights are from the optimum of the min-norm problem; 0 is exact.

    The largest of |sum alpha - 1|, -alpha_i, and (||u||^2 - <g_i, u>) / (||g_i|| s), where u is the
    combined gradient and s the norm of the smallest gradient, which is at least `||u||` at the
    optimum; s^2 is no smaller than `floor` times the largest square, for zero gradients.
    """
    gram, weights = np.asarray(gram, "float64"), np.asarray(weights, "float64")
    lengths = np.diag(gram)
    if lengths.max() == 0:
        excess = np.zeros(1)
    else:
        least = max(lengths.min(), floor * lengths.max())
        products = gram @ weights
        excess = weights @ products - products
        excess = excess / np.sqrt(np.maximum(lengths, least) * least)
    return float(max(abs(weights.sum() - 1), (-weights).max(), excess.max(), 0))


def kkt_violation_auxiliary(gram, main, weights):
    """How far lambdas are from the optimum of main and auxiliary tasks; 0 is exact.

    `weights` are the n - 1 lambdas, or n numbers with 1 at `main`. The largest, over the other
    tasks, of -lambda_i ||g_i|| / ||g_0||, -<g_i, u> / (||g_i|| ||g_0||), and
    lambda_i |<g_i, u>| / (||g_0|| max(||g_0||, lambda_i ||g_i||)). Zero gradients of other tasks
    may have any finite lambda >= 0; if the main one is zero, so is u: ||u||^2 over the largest
    square.
    """
    gram, weights = np.asarray(gram, "float64"), np.asarray(weights, "float64")
    if len(weights) == len(gram) - 1:
        weights = np.insert(weights, main, 1.0)
    if weights[main] != 1 or not np.isfinite(weights).all():
        return np.inf
    norms = np.sqrt(np.maximum(np.diag(gram), 0))
    products, length = gram @ weights, norms[main]
    others = np.delete(np.arange(len(gram)), main)
    negative = -weights[others].min(initial=0)
    if length == 0:
        return float(max(negative, squared_norm(gram, weights) / max(norms.max() ** 2, 1e-300)))
    worst = [negative if norms[others].min(initial=1) == 0 else 0.0]
    for i in others[norms[others] > 0]:
        pull = weights[i] * norms[i]
        cosine = products[i] / (norms[i] * length)
        worst += [-pull / length, -cosine, abs(pull * cosine) / max(length, abs(pull))]
    return float(max(worst))
