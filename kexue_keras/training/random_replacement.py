"""Wrong words in a decoder's input, so that it learns to go on from its own mistakes."""

import numpy as np


def random_replacement(token_ids, segment_ids, rate=0.3, keep_probability=0.5, seed=None):
    """Replaces some target tokens of a Seq2Seq model's input by other target tokens.

    Teacher forcing shows a decoder correct texts only; when it decodes it sees its own. Here a text
    is left as it is with `keep_probability`; else every token of the target is replaced, each with
    the probability `rate`, by one that is drawn from the same target. The labels stay: keep the
    ids that came in for the loss.

    Drawn from the target alone, as the article says; its published code draws from source and
    target together.

    Args:
        token_ids: int array or nested list, `(length,)` or `(batch, length)`: source and target.
        segment_ids: the same shape: 1 where the target is, else 0, also on padding.
        rate: probability of a target token to be replaced, from 0 to 1.
        keep_probability: probability of a text to be left alone, from 0 to 1.
        seed: int, `numpy.random.Generator`, or None.

    Returns:
        A new array of the shape and dtype of `token_ids`.

    Raises:
        ValueError: the shapes differ or have another number of dimensions, a segment is neither 0
            nor 1, or a probability is out of its range.

    Example:

    >>> from kexue_keras import training
    >>> training.random_replacement([2, 7, 3, 8, 9, 3], [0, 0, 0, 1, 1, 1], seed=1).tolist()[:3]
    [2, 7, 3]

    Reference: https://kexue.fm/archives/7259
    """
    for name, value in (("rate", rate), ("keep_probability", keep_probability)):
        if not 0 <= value <= 1:
            raise ValueError(f"`{name}` must be from 0 to 1. Received: {value}")
    token_ids, segment_ids = np.asarray(token_ids), np.asarray(segment_ids)
    if token_ids.shape != segment_ids.shape or token_ids.ndim not in (1, 2):
        raise ValueError(
            "`token_ids` and `segment_ids` must have one shape, (length,) or (batch, length). "
            f"Received: {token_ids.shape} and {segment_ids.shape}"
        )
    if not np.isin(segment_ids, (0, 1)).all():
        raise ValueError(f"`segment_ids` must be 0 or 1. Received: {np.unique(segment_ids)}")
    rng = np.random.default_rng(seed)
    found = np.array(np.atleast_2d(token_ids))
    for row, segments in zip(found, np.atleast_2d(segment_ids), strict=True):
        places = np.flatnonzero(segments)
        if rng.random() < keep_probability or not places.size:
            continue
        drawn = rng.choice(row[places], places.size)
        row[places] = np.where(rng.random(places.size) < rate, drawn, row[places])
    return found.reshape(token_ids.shape)
