"""Passages cut into pieces that hold an answer. No deep-learning framework is imported."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from kexue_keras.datasets.lines import LeftOutWarning
from kexue_keras.tokenizers.segments import segment


def piece_with_answer(question: Mapping[str, Any], size: int) -> tuple[str, str] | None:
    """The piece of a passage that answers its question, and the answer; None if none does.

    Of several pieces that hold an answer, most by chance, it is the one that shares most pairs of
    neighbouring characters with the question.

    Args:
        question: of `load_qa`: a dict with `passage`, `question` and `answers`.
        size: most characters of a piece.

    Example:

    >>> question = {"passage": "一二三四五。六七八九十。", "question": "七八？", "answers": ["九"]}
    >>> piece_with_answer(question, 8)
    ('六七八九十。', '九')
    """
    found, text = [], question["question"]
    shared = {text[i : i + 2] for i in range(len(text) - 1)}
    for piece in segment(question["passage"], size):
        answer = next((a for a in question["answers"] if a in piece), None)
        if answer is not None:
            found.append((sum(pair in piece for pair in shared), piece, answer))
    return max(found, key=lambda row: row[0])[1:] if found else None


def with_pieces(questions: Iterable[Mapping[str, Any]], size: int) -> list[tuple[str, str, str]]:
    """`(piece, answer, question)`: every question with the piece of its passage that answers it.

    Questions that no piece answers are left out, and a `LeftOutWarning` says how many.

    Args:
        questions: of `load_qa`.
        size: most characters of a piece.

    Example:

    >>> question = {"passage": "一二三四五。六七八九十。", "question": "七八？", "answers": ["九"]}
    >>> with_pieces([question], 8)
    [('六七八九十。', '九', '七八？')]
    """
    found = [(piece_with_answer(q, size), q["question"]) for q in questions]
    kept = [(*piece, question) for piece, question in found if piece is not None]
    if len(kept) < len(found):
        warnings.warn(
            f"{len(found) - len(kept):,} of {len(found):,} questions left out: no piece of at most "
            f"{size} characters has their answer",
            LeftOutWarning,
            stacklevel=2,
        )
    return kept
