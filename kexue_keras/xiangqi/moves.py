"""Moves of Chinese chess in ICCS: from-square and to-square, such as `h2e2`.

Files are a to i from red's left to its right, ranks 0 to 9 from red's side. Squares are numbered
file + 9 * rank. Pure Python; what the pieces may do is in `board`.

Example:

>>> is_move("h2e2"), is_move("h2e10"), squares_of("h2e2"), to_uci("h2e2")
(True, False, (25, 22), 'h3e3')
"""

import re
from collections.abc import Iterable
from typing import Any

FILES = "abcdefghi"

ICCS_PATTERN = "[a-i][0-9][a-i][0-9]"
"""Regular expression of a move in ICCS."""

_ICCS = re.compile(ICCS_PATTERN)
_UCI = re.compile(r"([a-i])(\d+)([a-i])(\d+)")


def is_move(text: Any) -> bool:
    """Whether `text` is a move in ICCS, legal or not."""
    return isinstance(text, str) and _ICCS.fullmatch(text) is not None


def check_move(iccs: Any) -> None:
    """Refuses what is no move in ICCS.

    Raises:
        ValueError: names what came.
    """
    if not is_move(iccs):
        raise ValueError(f"A move must be in ICCS, like 'h2e2'. Received: {iccs!r}")


def checked_moves(name: str, moves: Iterable[str]) -> list[str]:
    """The moves as a list, all of them in ICCS.

    Args:
        name: of the argument that the moves are, for the error.
        moves: any iterable.

    Raises:
        ValueError: one of them is no move; names the argument and what came.
    """
    moves = list(moves)
    for iccs in moves:
        if not is_move(iccs):
            raise ValueError(f"`{name}` must be moves in ICCS, like 'h2e2'. Received: {iccs!r}")
    return moves


def square(name: str) -> int:
    """The number of a square.

    Example:

    >>> square("a0"), square("i9")
    (0, 89)
    """
    return FILES.index(name[0]) + 9 * int(name[1])


def square_name(number: int) -> str:
    """The name of a square: the inverse of `square`.

    Example:

    >>> square_name(0), square_name(89)
    ('a0', 'i9')
    """
    return f"{FILES[number % 9]}{number // 9}"


def squares_of(iccs: str) -> tuple[int, int]:
    """The numbers of the squares that a move goes from and to."""
    return square(iccs[:2]), square(iccs[2:])


def to_uci(iccs: str) -> str:
    """The move as engines write it: ranks 1 to 10.

    Example:

    >>> to_uci("a9a0")
    'a10a1'
    """
    return f"{iccs[0]}{int(iccs[1]) + 1}{iccs[2]}{int(iccs[3]) + 1}"


def from_uci(uci: str) -> str:
    """The move of an engine in ICCS: the inverse of `to_uci`.

    Example:

    >>> from_uci("a10a1")
    'a9a0'
    """
    source, source_rank, target, target_rank = _UCI.fullmatch(uci).groups()
    return f"{source}{int(source_rank) - 1}{target}{int(target_rank) - 1}"
