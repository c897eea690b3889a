"""Red for what speaks for an output, blue for what speaks against it, white for nothing."""

import numpy as np

RED, BLUE = (200, 30, 45), (25, 85, 180)


def checked(tokens, scores):
    """Texts and scores of samples, the scores of padding left out.

    Args:
        tokens: list of lists of str, the tokens of every sample.
        scores: list of sequences of numbers, for every sample at least one for each token.

    Returns:
        List of pairs: texts, without the "##" of pieces of words, and a float64 array.

    Raises:
        ValueError: there are too few scores, or some are not finite.
    """
    if len(tokens) != len(scores) or not len(tokens):
        raise ValueError(
            "`scores` must be as many as `tokens`, at least one. "
            f"Received: {len(scores)} for {len(tokens)} samples"
        )
    found = []
    for texts, row in zip(tokens, scores, strict=True):
        row = np.asarray(row, "float64")
        if row.ndim != 1 or len(row) < len(texts) or not np.isfinite(row[: len(texts)]).all():
            raise ValueError(
                "`scores` must be finite, a number for each token. "
                f"Received: {row} for {len(texts)} tokens"
            )
        texts = [text.removeprefix("##") if len(text) > 2 else text for text in texts]
        found.append((texts, row[: len(texts)]))
    return found


def shade(score, largest):
    """The colours of a token and of its text, as `#rrggbb`.

    Args:
        score: its score.
        largest: the size of a score whose colour is full.

    >>> shade(0.0, 1.0), shade(1.0, 1.0), shade(-1.0, 1.0)
    (('#ffffff', '#202020'), ('#c81e2d', '#ffffff'), ('#1955b4', '#ffffff'))
    """
    share = min(1.0, abs(score) / largest) if largest > 0 else 0.0
    full = RED if score > 0 else BLUE
    colour = [round(255 + share * (x - 255)) for x in full]
    return "#{:02x}{:02x}{:02x}".format(*colour), "#ffffff" if share > 0.6 else "#202020"
