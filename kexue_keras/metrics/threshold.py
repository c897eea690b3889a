"""Thresholds of a score, or weights of classes, with the best accuracy."""

from __future__ import annotations

import numpy as np


def optimal_threshold(y_true, scores) -> tuple[float, float]:
    """The threshold t for which "positive if score > t" is most often right, and its accuracy.

    Exact: all thresholds that make a difference are compared, in one sweep over the sorted scores,
    O(n log n). (A numeric search can miss the best one, as accuracy is a step function.) The
    threshold lies in the middle between two neighbouring scores; of several equally accurate ones
    the one in the widest gap is taken. If it is best to call everything negative, it is the largest
    score; if everything positive, just below the smallest. It is a number of the scores' dtype, so
    that the comparison comes out the same there.

    Args:
        y_true: `(n,)` of 0 and 1, or bool.
        scores: `(n,)`, finite; floating, else they are compared as float64.

    Returns:
        The threshold and the accuracy, from 0.5 to 1.

    Raises:
        ValueError: if the arguments are empty, differ in shape, or hold other values.

    Example:

    >>> from kexue_keras import metrics
    >>> metrics.optimal_threshold([0, 0, 1, 0, 1], [-0.5, 0.1, 0.3, 0.4, 0.8])
    (0.6000000000000001, 0.8)

    Reference: https://kexue.fm/archives/8860
    """
    y_true, scores = np.asarray(y_true), np.asarray(scores)
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype("float64")
    if y_true.ndim != 1 or y_true.shape != scores.shape or not len(scores):
        raise ValueError(
            "`y_true` and `scores` must have the same shape (n,), n > 0. "
            f"Received: y_true.shape={y_true.shape}, scores.shape={scores.shape}"
        )
    strange = y_true[(y_true != 0) & (y_true != 1)]
    if len(strange):
        raise ValueError(f"`y_true` must be 0 or 1. Received: {strange[0]}")
    if not np.isfinite(scores).all():
        raise ValueError(f"`scores` must be finite. Received: {scores[~np.isfinite(scores)][0]}")

    threshold, right = _sweep(scores, y_true == 1, y_true == 0)
    return threshold, right / len(scores)


def optimal_thresholds(y_true, probabilities, restarts=8, seed=0) -> tuple[np.ndarray, float]:
    """Weights t of the classes for which `argmax(probabilities * t)` is most often right.

    One weight after the other is set to its best value, found exactly as by `optimal_threshold`,
    until none can be improved; several starts are tried, the first from equal weights. So the
    accuracy is at least that of the plain argmax, no single weight can improve it, and for two
    classes it is the best there is.

    Args:
        y_true: `(n,)` integers, the classes.
        probabilities: `(n, classes)`, finite and not negative; need not sum to 1.
        restarts: how many random starts follow the first.
        seed: of these starts.

    Returns:
        The weights, float64 `(classes,)` that sum to 1, and the accuracy.

    Raises:
        ValueError: if the arguments are empty, do not fit, or hold other values.

    Example:

    >>> from kexue_keras import metrics
    >>> probabilities = [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.8, 0.1, 0.1], [0.3, 0.3, 0.4]]
    >>> metrics.optimal_thresholds([1, 1, 0, 2], probabilities)[1]
    1.0

    Reference: https://kexue.fm/archives/8860
    """
    y_true, probabilities = np.asarray(y_true), np.asarray(probabilities, "float64")
    fits = probabilities.ndim == 2 and y_true.shape == probabilities.shape[:1]
    if not fits or not len(y_true) or probabilities.shape[1] < 2:
        raise ValueError(
            "`y_true` and `probabilities` must have shapes (n,) and (n, classes), n > 0, "
            f"classes > 1. Received: y_true.shape={y_true.shape}, "
            f"probabilities.shape={probabilities.shape}"
        )
    classes = probabilities.shape[1]
    strange = y_true[~np.isin(y_true, np.arange(classes))]
    if len(strange):
        raise ValueError(f"`y_true` must be below {classes}, the classes. Received: {strange[0]}")
    if not np.isfinite(probabilities).all() or (probabilities < 0).any():
        raise ValueError("`probabilities` must be finite and not negative")
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities)
    rng = np.random.default_rng(seed)
    starts = [np.zeros(classes), *rng.normal(size=(restarts, classes))]
    plain = float(np.mean(np.argmax(probabilities, axis=1) == y_true))
    best = (np.full(classes, 1 / classes), plain)
    for start in starts:
        weights = _ascend(logs, y_true, start)
        weights = np.exp(weights - weights.max())
        weights /= weights.sum()
        accuracy = float(np.mean(np.argmax(probabilities * weights, axis=1) == y_true))
        best = max(best, (weights, accuracy), key=lambda pair: pair[1])
    return best


def _ascend(logs: np.ndarray, y_true: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Improves the logs of the weights one by one."""
    places = np.arange(len(logs))
    right = int((np.argmax(logs + weights, axis=1) == y_true).sum())
    improved = True
    while improved:
        improved = False
        for j in range(logs.shape[1]):
            others = logs + weights
            others[:, j] = -np.inf
            rival = others.argmax(axis=1)
            # class j wins if `logs[:, j] - others' best` exceeds minus its weight; no weight
            # changes anything for a sample where one of the two is 0
            with np.errstate(invalid="ignore"):
                lead = logs[:, j] - others[places, rival]
            open_ = np.isfinite(lead)
            if not open_.any():
                continue
            lead = lead[open_]
            threshold, new = _sweep(lead, (y_true == j)[open_], (rival == y_true)[open_])
            new += int((np.argmax(logs + weights, axis=1) == y_true)[~open_].sum())
            if new > right:
                weights = weights.copy()
                # beyond all leads, by a margin that rounding cannot undo
                edge = int(threshold < lead.min()) - int(threshold >= lead.max())
                weights[j], right, improved = edge - threshold, new, True
    return weights


def _sweep(scores, if_above, if_below) -> tuple[float, int]:
    """The threshold with the most right samples, and their number.

    A sample is right above the threshold where `if_above`, and right at it or below it where
    `if_below`.
    """
    values, places = np.unique(scores, return_inverse=True)
    above = np.bincount(places, weights=if_above, minlength=len(values))
    below = np.bincount(places, weights=if_below, minlength=len(values))
    # entry i: the i smallest distinct scores are not above
    right = np.r_[0, np.cumsum(below)] + above.sum() - np.r_[0, np.cumsum(above)]
    gaps = np.r_[0, np.diff(values / 2), 0]
    best = np.lexsort((-gaps, -right))[0]
    return between(values, best), int(right[best])


def between(values: np.ndarray, i: int) -> float:
    """A number below `values[i]` and not below `values[i - 1]`, midway if there are both.

    It is one of the dtype of `values`.
    """
    if i == 0:
        return float(np.nextafter(values[0], values.dtype.type(-np.inf)))
    if i == len(values):
        return float(values[-1])
    middle = values[i - 1] / 2 + values[i] / 2
    return float(middle if values[i - 1] <= middle < values[i] else values[i - 1])
