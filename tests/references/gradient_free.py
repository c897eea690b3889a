"""Estimates of gradients in NumPy: policy gradient, zeroth order (7737), MGS (7521).

Written from the articles alone: https://kexue.fm/archives/7737 and 7521.
"""

import numpy as np


def softmax(logits):
    exps = np.exp(logits - logits.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


def expected_reward(logits, rewards):
    """sum_y p(y) r(y), the mean over rows; both (n, classes)."""
    return float(np.mean(np.sum(softmax(np.asarray(logits, "float64")) * rewards, -1)))


def scores(logits):
    """grad log p(y) by the logits of one row, for every y: I - 1 p^T, (n, y, classes)."""
    p = softmax(np.asarray(logits, "float64"))
    return np.eye(p.shape[-1]) - p[..., None, :]


def exact_policy_gradient(logits, rewards, baseline=0.0):
    """The gradient of `expected_reward` by the logits: sum_y p(y) (r(y) - b) grad log p(y) / n.

    SPEC C2, article 7737: the same for every baseline.

    Args:
        logits, rewards: (n, classes), the rewards of every class of every row.
    """
    p = softmax(np.asarray(logits, "float64"))
    terms = (p * (np.asarray(rewards) - baseline))[..., None] * scores(logits)
    return terms.sum(-2) / len(p)


def exact_baseline(logits, rewards, kind):
    """The expectation of what `sampled_baseline` estimates, over classes and rows."""
    p = softmax(np.asarray(logits, "float64"))
    squares = np.sum(scores(logits) ** 2, -1)
    return weighted_mean(rewards, p, kind, p * squares)


def sampled_baseline(logits, samples, rewards, kind, squares=None):
    """b of the samples of a batch: "none" 0; "mean" of r; "optimal" sum r s / sum s.

    s is the squared norm of grad log p(sample), by the logits, or `squares` (n,) by whatever the
    gradient is taken.
    """
    if squares is None:
        rows = np.arange(len(samples))
        squares = np.sum(scores(logits)[rows, samples] ** 2, -1)
    return weighted_mean(rewards, np.ones(len(samples)), kind, squares)


def weighted_mean(rewards, uniform, kind, optimal):
    weights = {"none": None, "mean": uniform, "optimal": optimal}[kind]
    if weights is None or not np.sum(weights) > 0:
        return 0.0
    return float(np.sum(rewards * weights) / np.sum(weights))


def policy_gradient_estimate(logits, samples, rewards, baseline="none", squares=None):
    """(r - b) grad log p(sample) / n, by the logits: ascends the expected reward (SPEC C2, 7737).

    Args:
        logits: (n, classes). For many samples of one row repeat it and sum the result.
        samples: (n,) integers.
        rewards: (n,), of the samples.
        baseline: "none", "mean", "optimal" (see `sampled_baseline`) or a number.
    """
    rows = np.arange(len(samples))
    b = baseline
    if isinstance(baseline, str):
        b = sampled_baseline(logits, samples, rewards, baseline, squares)
    return (np.asarray(rewards) - b)[:, None] * scores(logits)[rows, samples] / len(samples)


def zeroth_order(function, point, directions, sigma, antithetic=True):
    """The mean of (f(x + sigma u) - f(x - sigma u)) u / (2 sigma) (SPEC C2, article 7737).

    Not antithetic: of (f(x + sigma u) - f(x)) u / sigma. `directions` are u, the first axis counts.
    """
    point = np.asarray(point, "float64")
    total = np.zeros_like(point)
    for u in directions:
        ahead = function(point + sigma * u)
        behind = function(point - sigma * u) if antithetic else function(point)
        total += (ahead - behind) / ((2 if antithetic else 1) * sigma) * u
    return total / len(directions)


def zeroth_order_baseline(function, point, directions, sigma):
    """The best b of (f(x + sigma u) - b) u / sigma: the mean of f ||u||^2 over that of ||u||^2."""
    squares = [np.sum(u**2) for u in directions]
    values = [function(point + sigma * u) for u in directions]
    return float(np.dot(values, squares) / np.sum(squares))


def log_proposal(candidates, center, sigma, mixture):
    """log q, q = mixture N(0, sigma^2) + (1 - mixture) N(center, sigma^2) (SPEC C3, article 7521).

    Args:
        candidates: (n, d), the changes of the parameters.
        center: (d,), -grad of the guiding loss, times its step if any.
        mixture: between 0 and 1.
    """
    candidates, center = np.asarray(candidates, "float64"), np.asarray(center, "float64")
    parts = []
    for share, mean in ((mixture, 0.0), (1 - mixture, center)):
        if share > 0:
            parts.append(np.log(share) - np.sum((candidates - mean) ** 2, 1) / (2 * sigma**2))
    constant = candidates.shape[1] / 2 * np.log(2 * np.pi * sigma**2)
    return np.logaddexp.reduce(parts, 0) - constant


def mgs_log_weights(candidates, losses, loss_now, center, sigma, mixture, temperature):
    """-(l_i - l_0) / alpha - log q(candidate i), not normalised."""
    change = np.asarray(losses, "float64") - loss_now
    return -change / temperature - log_proposal(candidates, center, sigma, mixture)


def normalized(log_weights):
    """exp of them over its sum, whatever their size."""
    weights = np.exp(log_weights - np.max(log_weights))
    return weights / weights.sum()


def mgs_weights(candidates, losses, loss_now, center, sigma, mixture, temperature):
    """Self-normalised importance weights, (n,)."""
    return normalized(
        mgs_log_weights(candidates, losses, loss_now, center, sigma, mixture, temperature)
    )


def mgs_update(candidates, losses, loss_now, center, sigma, mixture, temperature):
    """sum_i w_i candidate_i: what is added to the parameters (SPEC C3, article 7521)."""
    weights = mgs_weights(candidates, losses, loss_now, center, sigma, mixture, temperature)
    return weights @ np.asarray(candidates, "float64")
