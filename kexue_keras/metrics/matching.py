"""KgCLUE's measures of an answer: exact match and F1 by common characters."""

from __future__ import annotations

from kexue_keras.metrics.subsequences import longest_common_subsequence


def _normalize(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"Texts to compare must be strings. Received: {type(text).__name__}")
    return " ".join(text.lower().split())


def exact_match(a: str, b: str) -> bool:
    """Whether two texts are equal, but for case and the amount of white space.

    Example:

    >>> exact_match("UNIX  System", "unix system")
    True

    Reference: KgCLUE's official evaluation, https://github.com/CLUEbenchmark/KgCLUE;
    https://kexue.fm/archives/8802
    """
    return _normalize(a) == _normalize(b)


def f1(a: str, b: str) -> float:
    """`2 LCS(a, b) / (len(a) + len(b))`, LCS the longest common subsequence of characters.

    Compared after the same normalisation as `exact_match`, so f1 is 1 wherever that is True, also
    for two empty texts.

    Example:

    >>> round(f1("周杰伦", "周伦"), 2)
    0.8

    Reference: as `exact_match`.
    """
    a, b = _normalize(a), _normalize(b)
    if not a and not b:
        return 1.0
    return 2 * longest_common_subsequence(a, b) / (len(a) + len(b))
