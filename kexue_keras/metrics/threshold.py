"""The threshold of a score with the best accuracy."""

from __future__ import annotations

import numpy as np


def optimal_threshold(y_true, scores) -> tuple[float, float]:
    """The threshold t for which "positive if score > t" is most often right, and its accuracy.

    Exact: all thresholds that make a difference are compared, in one sweep over the sorted scores,
    O(n log n). (A numeric search can miss the best one, as accuracy is a step function.) The
    threshold lies in the middle between two neighbouring scores; of several equally accurate ones
    the one in the widest gap is taken. If it is best to call everything negative, it is the largest
    score; if everything positive, just below the smallest.

    Args:
        y_true: `(n,)` of 0 and 1, or bool.
        scores: `(n,)`, finite.

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
    y_true, scores = np.asarray(y_true), np.asarray(scores, "float64")
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

    values, places = np.unique(scores, return_inverse=True)
    positives = np.bincount(places, weights=y_true == 1, minlength=len(values))
    negatives = np.bincount(places, weights=y_true == 0, minlength=len(values))
    # entry i: the i smallest distinct scores are called negative
    right = np.r_[0, np.cumsum(negatives)] + positives.sum() - np.r_[0, np.cumsum(positives)]
    gaps = np.r_[0, np.diff(values / 2), 0]
    best = np.lexsort((-gaps, -right))[0]
    return _between(values, best), float(right[best] / len(scores))


def _between(values: np.ndarray, i: int) -> float:
    """A number below `values[i]` and not below `values[i - 1]`, midway if there are both."""
    if i == 0:
        return float(np.nextafter(values[0], -np.inf))
    if i == len(values):
        return float(values[-1])
    middle = values[i - 1] / 2 + values[i] / 2
    return float(middle if values[i - 1] <= middle < values[i] else values[i - 1])
