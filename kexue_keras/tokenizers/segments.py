"""Cuts long texts into pieces at the ends of sentences. Pure Python.

Reference: https://kexue.fm/archives/7630 (`text_segmentate` of bert4keras)
"""

from collections.abc import Callable

SEPARATORS = ("\n", "。！？!?", "；;", "，,", " ")


def segment(
    text: str,
    maxlen: int,
    separators: tuple[str, ...] = SEPARATORS,
    length: Callable[[str], int] = len,
) -> list[str]:
    """Pieces of at most `maxlen`, cut where the text pauses longest.

    A text that is too long is cut after every character of the first separators; short neighbours
    are put together again as long as they fit, from the left; a piece that is still too long is
    cut at the next separators, and in the end anywhere.

    Args:
        text: any text.
        maxlen: largest length of a piece, at least 1.
        separators: groups of characters, the strongest pause first.
        length: length of a piece; must not grow when characters are left out.

    Returns:
        Pieces that are not empty; joined together they are `text`.

    Example:

    >>> segment("天很蓝。云很白，风很轻。", maxlen=8)
    ['天很蓝。', '云很白，风很轻。']

    Reference: https://kexue.fm/archives/7630
    """
    if maxlen < 1:
        raise ValueError(f"`maxlen` must be at least 1. Received: {maxlen}")
    if length(text) <= maxlen:
        return [text] if text else []
    pieces, start = [], 0
    for i, character in enumerate(text, 1):
        if not separators or character in separators[0] or i == len(text):
            pieces.append(text[start:i])
            start = i
    merged = [pieces[0]]
    for piece in pieces[1:]:
        if length(merged[-1] + piece) <= maxlen:
            merged[-1] += piece
        else:
            merged.append(piece)
    if not separators:
        return merged
    return [part for piece in merged for part in segment(piece, maxlen, separators[1:], length)]
