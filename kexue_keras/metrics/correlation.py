"""Spearman's rank correlation."""

from __future__ import annotations

import numpy as np


def spearman(y_true, scores) -> float:
    """Correlation of the ranks of labels and scores, ties ranked by their mean (SciPy's).

    Args:
        y_true: `(n,)` numbers, n > 1.
        scores: `(n,)`, finite.

    Returns:
        From -1 to 1; articles print it times 100. NaN if all scores are equal.

    Raises:
        ImportError: without SciPy.
        ValueError: if the shapes differ, something is not finite, or all labels are equal.

    Example:

    >>> from kexue_keras import metrics
    >>> metrics.spearman([1, 2, 3, 4], [0.1, 0.3, 0.2, 0.9])
    0.8

    Reference: https://kexue.fm/archives/8847
    """
    try:
        from scipy.stats import spearmanr
    except ImportError as error:
        raise ImportError(
            'metrics.spearman needs the package SciPy: pip install "kexue_keras[similarity]"'
        ) from error
    y_true, scores = np.asarray(y_true, "float64"), np.asarray(scores, "float64")
    if y_true.ndim != 1 or y_true.shape != scores.shape or len(scores) < 2:
        raise ValueError(
            "`y_true` and `scores` must have the same shape (n,), n > 1. "
            f"Received: y_true.shape={y_true.shape}, scores.shape={scores.shape}"
        )
    for name, values in (("y_true", y_true), ("scores", scores)):
        if not np.isfinite(values).all():
            raise ValueError(f"`{name}` must be finite. Received: {values}")
    if (y_true == y_true[0]).all():
        raise ValueError(f"`y_true` must not be all equal. Received: {y_true}")
    if (scores == scores[0]).all():
        return float("nan")
    return round(float(spearmanr(y_true, scores).statistic), 15)
