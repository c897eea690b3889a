"""Passages cut into pieces that hold an answer. No deep-learning framework is imported."""

from collections.abc import Mapping
from typing import Any

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
