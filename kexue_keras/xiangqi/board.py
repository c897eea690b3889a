"""Chinese chess: a board with the rules of Fairy-Stockfish (the package pyffish).

Moves are in ICCS, from-square and to-square such as `h2e2`: files a to i from red's left to its
right, ranks 0 to 9 from red's side. Red is the upper-case side of a FEN and moves first.

Example:

>>> board = Board()
>>> board.squares[:4], len(board.legal_moves()), board.to_chinese("h2e2")
(('R', 'N', 'B', 'A'), 44, '炮二平五')
>>> board.push("h2e2")
>>> board.turn, board.from_chinese("馬8進7")
('black', 'h9g7')

Reference: https://kexue.fm/archives/7877
"""

import re
from collections import Counter
from collections.abc import Iterable
from types import ModuleType
from typing import NamedTuple

from kexue_keras.xiangqi import notation
from kexue_keras.xiangqi.moves import check_move, from_uci, square_name, squares_of, to_uci
from kexue_keras.xiangqi.notation import NAMES

START_FEN = "rnbakabnr/9/1c5c1/p1p1p1p1p/9/9/P1P1P1P1P/1C5C1/9/RNBAKABNR w - - 0 1"

_VARIANT = "xiangqi"
_PRINTED = {**NAMES, "r": "車", "n": "馬", "c": "砲", ".": "．"}
_MAXIMUM = {"K": 1, "A": 2, "B": 2, "N": 2, "R": 2, "C": 2, "P": 5}
# From red's side, as file + 9 * rank; black's are the same after a half turn of the board.
_ALLOWED = {
    "K": {f + 9 * r for f in (3, 4, 5) for r in (0, 1, 2)},
    "A": {f + 9 * r for f, r in ((3, 0), (5, 0), (4, 1), (3, 2), (5, 2))},
    "B": {f + 9 * r for f, r in ((2, 0), (6, 0), (0, 2), (4, 2), (8, 2), (2, 4), (6, 4))},
    "P": {f + 9 * r for f in range(9) for r in range(3, 10) if r > 4 or f % 2 == 0},
}


class IllegalMove(ValueError):
    """A well-formed move that the rules do not allow in the position."""


class Result(NamedTuple):
    """How a game ended.

    Attributes:
        winner: `"red"`, `"black"` or None for a draw.
        reason: `"checkmate"`, `"stalemate"` (the side without a move loses), `"perpetual check"`,
            `"perpetual chase"` (the side that goes on with it loses), `"repetition"`,
            `"move limit"` or `"insufficient material"`.
    """

    winner: str | None
    reason: str


def _rules() -> ModuleType:
    try:
        import pyffish
    except ImportError as error:
        raise ImportError(
            "kexue_keras.xiangqi needs pyffish: pip install 'kexue_keras[xiangqi]'"
        ) from error
    return pyffish


def _other(side: str) -> str:
    return "black" if side == "red" else "red"


def _parse_fen(fen: str) -> tuple[list[str], str, int, int]:
    """The 90 squares (`.` if empty, red's left corner first), side, clock and move number."""

    def refuse(why: str) -> ValueError:
        return ValueError(f"`fen` {why}. Received: {fen!r}")

    fields = fen.split() if isinstance(fen, str) else []
    if len(fields) not in (2, 6):
        raise refuse("must have the board and the side, or all 6 fields")
    if fields[1] not in ("w", "r", "b"):
        raise refuse("must have the side w (or r) or b")
    if not all(re.fullmatch("[0-9]{1,4}", number) for number in fields[4:]):
        raise refuse("must end with two numbers: half moves without capture, move number")
    ranks = [re.sub("[1-9]", lambda m: "." * int(m[0]), r) for r in fields[0].split("/")]
    if len(ranks) != 10 or any(len(rank) != 9 for rank in ranks):
        raise refuse("must have 10 ranks of 9 squares")
    squares = list("".join(reversed(ranks)))
    if strange := set(squares) - set(NAMES) - {"."}:
        raise refuse(f"has the unknown piece {min(strange)!r}")
    count = Counter(squares)
    for piece in NAMES:
        most = _MAXIMUM[piece.upper()]
        if count[piece] > most or (piece in "Kk" and count[piece] == 0):
            wanted = "exactly" if piece in "Kk" else "at most"
            raise refuse(f"must have {wanted} {most} {piece!r}, it has {count[piece]}")
    for at, piece in enumerate(squares):
        seen = at if piece.isupper() else 89 - at
        if seen not in _ALLOWED.get(piece.upper(), {seen}):
            raise refuse(f"has {piece!r} on {square_name(at)}, where it can never stand")
    clock, number = (int(fields[4]), int(fields[5])) if len(fields) == 6 else (0, 1)
    kings = sorted((squares.index("K"), squares.index("k")))
    if set(squares[kings[0] + 9 : kings[1] : 9]) <= {"."} and (kings[1] - kings[0]) % 9 == 0:
        raise refuse("has the two generals facing each other")
    return squares, "black" if fields[1] == "b" else "red", clock, max(number, 1)


class Board:
    """A position of Chinese chess with the moves that led to it.

    Each question to pyffish costs about 2 ms whatever the position, for it sets up its tables
    anew; the legal moves of the current position are therefore kept, and `extend` checks a whole
    game with one question.

    Args:
        fen: the position to start from, by default that of a game. The side may be `w` or `r`
            for red; the last four fields may be left out.

    Raises:
        ValueError: if `fen` is malformed or its position impossible.
        ImportError: without pyffish.

    Example:

    >>> board = Board("3k5/9/4P4/9/9/9/9/9/9/4K4 w")
    >>> board.push("e7e8")
    >>> board.legal_moves(), board.result()
    ([], Result(winner='red', reason='stalemate'))
    """

    def __init__(self, fen: str | None = None):
        self._pyffish = _rules()
        self._squares, self._turn, self._clock, self._number = _parse_fen(
            START_FEN if fen is None else fen
        )
        self._start = self.fen
        self._moves: list[str] = []
        self._undo: list[tuple[str, int]] = []
        self._keys = [self._key()]
        self._legal: list[str] | None = None
        if fen is not None and self._pyffish.gives_check(_VARIANT, self._fen(self._waiting), []):
            raise ValueError(
                f"`fen` has {self._waiting} in check while {self._turn} is to move. "
                f"Received: {fen!r}"
            )

    def __repr__(self) -> str:
        return f"Board({self.fen!r})"

    def __str__(self) -> str:
        lines = []
        for rank in reversed(range(10)):
            row = " ".join(_PRINTED[piece] for piece in self._squares[9 * rank : 9 * rank + 9])
            lines.append(f"{rank} {row}")
        lines.insert(5, "  ～ ～  楚 河      漢 界  ～ ～")
        return "\n".join([*lines, "  ａ ｂ ｃ ｄ ｅ ｆ ｇ ｈ ｉ", f"{self._turn} to move"])

    @property
    def turn(self) -> str:
        """The side to move, `"red"` or `"black"`."""
        return self._turn

    @property
    def moves(self) -> list[str]:
        """The moves so far in ICCS."""
        return list(self._moves)

    @property
    def squares(self) -> tuple[str, ...]:
        """The 90 squares, file + 9 * rank: letters of a FEN, `.` if empty."""
        return tuple(self._squares)

    @property
    def fen(self) -> str:
        """The position, with the half moves since the last capture and the move number."""
        return self._fen(self._turn)

    @property
    def _waiting(self) -> str:
        return _other(self._turn)

    def _fen(self, turn: str) -> str:
        ranks = ["".join(self._squares[9 * rank : 9 * rank + 9]) for rank in range(9, -1, -1)]
        board = re.sub(r"\.+", lambda m: str(len(m[0])), "/".join(ranks))
        return f"{board} {'w' if turn == 'red' else 'b'} - - {self._clock} {self._number}"

    def _key(self) -> str:
        return "".join(self._squares) + self._turn

    def legal_moves(self) -> list[str]:
        """The legal moves in ICCS, sorted."""
        if self._legal is None:
            found = self._pyffish.legal_moves(_VARIANT, self.fen, [])
            self._legal = sorted(map(from_uci, found))
        return list(self._legal)

    def _check_legal(self, iccs: str) -> None:
        check_move(iccs)
        if iccs not in self.legal_moves():
            raise self._illegal(iccs)

    def _illegal(self, move: str) -> IllegalMove:
        return IllegalMove(
            f"{move!r} is not legal for {self._turn} at ply {len(self._moves) + 1} ({self.fen})"
        )

    def _play(self, iccs: str) -> None:
        source, target = squares_of(iccs)
        captured = self._squares[target]
        self._undo.append((captured, self._clock))
        self._squares[target], self._squares[source] = self._squares[source], "."
        self._clock = self._clock + 1 if captured == "." else 0
        self._number += self._turn == "black"
        self._turn = self._waiting
        self._moves.append(iccs)
        self._keys.append(self._key())
        self._legal = None

    def push(self, iccs: str) -> None:
        """Plays a move.

        Raises:
            ValueError: if it is not ICCS.
            IllegalMove: if the rules forbid it; the board is then as before.
        """
        self._check_legal(iccs)
        self._play(iccs)

    def extend(self, moves: Iterable[str]) -> None:
        """Plays many moves, all or none of them; much faster than `push` one by one.

        Raises:
            ValueError: if one is not ICCS.
            IllegalMove: for the first one that the rules forbid.

        Example:

        >>> board = Board()
        >>> board.extend("h2e2 h9g7 h0g2".split())
        >>> board.fen
        'rnbakab1r/9/1c4nc1/p1p1p1p1p/9/9/P1P1P1P1P/1C2C1N2/9/RNBAKAB1R b - - 3 2'
        """
        moves = list(moves)
        for iccs in moves:
            check_move(iccs)
        try:
            self._pyffish.get_fen(_VARIANT, self.fen, [to_uci(iccs) for iccs in moves])
            play = self._play
        except (ValueError, SystemError):
            play = self.push
        before = len(self._moves)
        try:
            for iccs in moves:
                play(iccs)
        except IllegalMove:
            while len(self._moves) > before:
                self.pop()
            raise

    def pop(self) -> str:
        """Takes the last move back and returns it.

        Raises:
            IndexError: if there is none.
        """
        if not self._moves:
            raise IndexError("There is no move to take back")
        iccs = self._moves.pop()
        source, target = squares_of(iccs)
        captured, self._clock = self._undo.pop()
        self._squares[source], self._squares[target] = self._squares[target], captured
        self._turn = self._waiting
        self._number -= self._turn == "black"
        self._keys.pop()
        self._legal = None
        return iccs

    def to_chinese(self, iccs: str) -> str:
        """A legal move in Chinese notation, red's numbers in Chinese, black's in full-width digits.

        Of two like pieces on a file the one nearer to the enemy is 前, the other 后; three soldiers
        are 前, 中, 后, and more are 一 to 五 from the front. If two files hold several soldiers,
        these are 一 to 五 from the player's right to the left, on each file from the front.

        Raises:
            ValueError: if `iccs` is not ICCS.
            IllegalMove: if it is not legal in the position.

        Example:

        >>> Board().to_chinese("h0g2")
        '马二进三'
        """
        self._check_legal(iccs)
        return notation.spellings(self._squares, iccs)[0]

    def from_chinese(self, text: str) -> str:
        """The legal move in ICCS that `text` names.

        Traditional and simplified characters are the same here, so are the names of both sides,
        and Chinese, full-width and half-width numbers. Where several forms are in use, such as
        前仕退五 for 仕四退五, all are understood.

        Raises:
            ValueError: if `text` is not Chinese notation, or fits several moves.
            IllegalMove: if no legal move is called so.

        Example:

        >>> Board().from_chinese("砲2平5")
        'h2e2'
        """
        found = notation.find(self._squares, self.legal_moves(), text)
        if not found:
            raise self._illegal(text)
        if len(found) > 1:
            raise ValueError(f"{text!r} may be {' or '.join(found)} ({self.fen})")
        return found[0]

    def _gives_check(self, plies: int) -> bool:
        return self._pyffish.gives_check(
            _VARIANT, self._start, [to_uci(iccs) for iccs in self._moves[:plies]]
        )

    def _winner(self, value: int) -> str | None:
        if value == 0:
            return None
        return self._turn if value > 0 else self._waiting

    def result(self) -> Result | None:
        """How the game ended, or None while it goes on.

        A position that came for the third time, or 100 half moves without capture, end the game
        here as they do for Fairy-Stockfish; `push` still works afterwards, for in recorded games
        players may have gone on.

        Example:

        >>> Board("3k5/3R5/3P5/9/9/9/9/9/9/4K4 b").result()
        Result(winner='red', reason='checkmate')
        """
        if not self.legal_moves():
            value = self._pyffish.game_result(_VARIANT, self.fen, [])
            in_check = self._pyffish.gives_check(_VARIANT, self.fen, [])
            return Result(self._winner(value), "checkmate" if in_check else "stalemate")
        if not set("RNCPrncp") & set(self._squares):
            return Result(None, "insufficient material")
        repeated = self._keys.count(self._keys[-1]) > 2
        if not repeated and self._clock < 100:
            return None
        ended, value = self._pyffish.is_optional_game_end(
            _VARIANT, self._start, [to_uci(iccs) for iccs in self._moves]
        )
        if not ended:
            return None
        winner = self._winner(value)
        if winner is None:
            return Result(None, "move limit" if self._clock >= 100 else "repetition")
        last = len(self._moves)
        before = max(i for i in range(last) if self._keys[i] == self._keys[-1])
        by_loser = range(last - (winner != self._turn), before, -2)
        checks = all(self._gives_check(plies) for plies in by_loser)
        return Result(winner, "perpetual check" if checks else "perpetual chase")

    def perft(self, depth: int) -> int:
        """The number of move sequences of `depth` half moves.

        Example:

        >>> Board().perft(2)
        1920
        """
        if not isinstance(depth, int) or depth < 0:
            raise ValueError(f"`depth` must be an integer, at least 0. Received: {depth!r}")
        if depth < 2:
            return len(self.legal_moves()) if depth else 1
        total = 0
        for iccs in self.legal_moves():
            self._play(iccs)
            total += self.perft(depth - 1)
            self.pop()
        return total
