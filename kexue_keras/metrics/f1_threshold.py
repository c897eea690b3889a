"""The threshold of many scores that is best by micro F1, by an exact sweep."""

import numpy as np

from kexue_keras.metrics.threshold import between


def optimal_f1_threshold(truth, scores) -> tuple[float, float]:
    """The threshold t with the best micro F1 of "tagged if score > t", and that F1.

    Exact: all thresholds are compared, those between two neighbouring scores by their middle. It is
    a number of the scores' dtype, so that the comparison comes out the same there.

    Args:
        truth: bool array of any shape.
        scores: floating array of that shape.

    Example:

    >>> optimal_f1_threshold(np.array([True, False, True]), np.array([0.5, 0.1, 0.4]))
    (0.25, 1.0)
    """
    order = np.argsort(-scores, axis=None)
    sorted_scores = scores.ravel()[order]
    hits = np.cumsum(truth.ravel()[order])
    values = 2 * hits / (truth.sum() + np.arange(1, len(hits) + 1))
    # equal scores are on one side of any threshold
    ends = np.flatnonzero(np.diff(sorted_scores, append=-np.inf))
    best = ends[values[ends].argmax()]
    threshold = between(sorted_scores[::-1], len(sorted_scores) - 1 - best)
    return threshold, float(values[best])
