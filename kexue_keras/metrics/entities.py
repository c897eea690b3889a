"""Entities of BIO and BMES tags, and how many of them were found, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

_OPENS, _GOES_ON = frozenset("BS"), frozenset("IME")


class EntityScores(NamedTuple):
    """Precision, recall and their harmonic mean, from 0 to 1, over all sentences together."""

    f1: float
    precision: float
    recall: float


def entities(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Entities of one sentence, from left to right.

    A tag is `O`, or a prefix, a hyphen and a type: `B-`, `I-` (BIO) or `B-`, `M-`, `E-`, `S-`
    (BMES); `I` and `M` mean the same. Any sequence of tags is read as conlleval reads it:
    an entity goes on with `I`, `M` or `E` of its type after `B`, `I` or `M`; every other tag but
    `O` begins one. So `I-ORG` after `O`, or after another type, begins an entity, and one that
    lacks its `E` ends all the same.

    Args:
        tags: the tags of a sentence's tokens.

    Returns:
        `(start, end, type)`: the entity is `tokens[start:end]`.

    Raises:
        ValueError: something is not a tag.

    Example:

    >>> entities(["B-NAME", "E-NAME", "O", "S-TITLE"])
    [(0, 2, 'NAME'), (3, 4, 'TITLE')]

    Reference: Tjong Kim Sang 2002, https://aclanthology.org/W02-2024 (conlleval)
    """
    found: list[tuple[int, int, str]] = []
    open_type = None
    for i, tag in enumerate(tags):
        if tag == "O":
            open_type = None
            continue
        prefix, hyphen, kind = tag.partition("-")
        if not hyphen or not kind or prefix not in _OPENS | _GOES_ON:
            raise ValueError(
                f"`tags` must be O, or one of B-, I-, M-, E-, S- and a type. Received: {tag!r}"
            )
        start = found.pop()[0] if prefix in _GOES_ON and kind == open_type else i
        found.append((start, i + 1, kind))
        open_type = None if prefix in "ES" else kind
    return found


def entity_f1(
    gold: Sequence[Iterable[tuple[int, int, str]]],
    found: Sequence[Iterable[tuple[int, int, str]]],
) -> EntityScores:
    """Precision, recall and F1 of entities; right is one whose start, end and type are all right.

    Args:
        gold: the true entities of every sentence, as `entities` gives them.
        found: the predicted ones, of as many sentences.

    Returns:
        `EntityScores`; a figure whose denominator is 0 is 0.

    Example:

    >>> gold, found = [[(0, 2, "NAME")]], [[(0, 2, "NAME"), (3, 4, "TITLE")]]
    >>> entity_f1(gold, found)
    EntityScores(f1=0.6666666666666666, precision=0.5, recall=1.0)
    """
    if len(gold) != len(found):
        raise ValueError(
            "`gold` and `found` must have the same number of sentences. "
            f"Received: {len(gold)} and {len(found)}"
        )
    gold, found = [set(row) for row in gold], [set(row) for row in found]
    right = sum(len(a & b) for a, b in zip(gold, found, strict=True))
    true, predicted = (sum(map(len, rows)) for rows in (gold, found))
    return EntityScores(
        2 * right / (true + predicted) if true + predicted else 0.0,
        right / predicted if predicted else 0.0,
        right / true if true else 0.0,
    )
