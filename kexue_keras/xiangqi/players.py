"""Players of Chinese chess, and matches between them.

A player has a name and `choose(board, rng)`, which returns a legal move in ICCS of a `Board` whose
game goes on; `rng`, a `random.Random`, is its only source of chance.

Example:

>>> match = play_match(CapturePlayer(), RandomPlayer(), games=2, seed=0, max_plies=20)
>>> match.games, match.reasons
(2, {'ply limit': 2})
"""

import dataclasses
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from kexue_keras.xiangqi.board import Board
from kexue_keras.xiangqi.moves import squares_of

VALUES = {"R": 9.0, "C": 4.5, "N": 4.0, "A": 2.0, "B": 2.0, "P": 1.0}
"""Customary values of the pieces; a soldier beyond the river counts 2."""


class Player(Protocol):
    """What `play_match` needs of a player."""

    name: str

    def choose(self, board: Board, rng: random.Random) -> str:
        """A legal move in ICCS."""


def captured_value(pieces: Sequence[str], iccs: str) -> float:
    """Value of the piece that a move takes, 0 if none.

    Example:

    >>> [captured_value(Board().squares, iccs) for iccs in ("h2h9", "h2e2")]
    [4.0, 0.0]
    """
    _, target = squares_of(iccs)
    piece = pieces[target]
    if piece in "Pp":
        beyond = target >= 45 if piece == "P" else target < 45
        return 2.0 if beyond else 1.0
    return VALUES.get(piece.upper(), 0.0)


class RandomPlayer:
    """Plays any legal move.

    Example:

    >>> RandomPlayer().choose(Board(), random.Random(0)) in Board().legal_moves()
    True
    """

    name = "random"

    def choose(self, board: Board, rng: random.Random) -> str:
        return rng.choice(board.legal_moves())


class CapturePlayer:
    """Takes the most valuable piece that it can, protected or not; else plays any legal move.

    Example:

    >>> board = Board("3k5/9/9/9/9/9/r8/9/9/RN2K4 w")
    >>> CapturePlayer().choose(board, random.Random(0))
    'a0a3'
    """

    name = "capture"

    def choose(self, board: Board, rng: random.Random) -> str:
        pieces, moves = board.squares, board.legal_moves()
        values = [captured_value(pieces, iccs) for iccs in moves]
        best = max(values)
        return rng.choice([m for m, value in zip(moves, values, strict=True) if value == best])


class ModelPlayer:
    """Plays the legal move that a language model of games finds most probable.

    Args:
        scorer: a `kexue_keras.xiangqi.move_scorer.MoveScorer`, or what has its `rank`.
        temperature: 0 for the most probable move; else moves are drawn with probabilities to the
            power of `1 / temperature`.
        name: name in tables.
    """

    def __init__(self, scorer: Any, temperature: float = 0.0, name: str = "model"):
        if not 0 <= temperature < float("inf"):
            raise ValueError(f"`temperature` must not be negative. Received: {temperature}")
        self.scorer = scorer
        self.temperature = temperature
        self.name = name

    def choose(self, board: Board, rng: random.Random) -> str:
        ranked = self.scorer.rank(board.moves, board.legal_moves())
        if self.temperature == 0:
            return ranked[0].iccs
        scores = np.array([move.log_probability for move in ranked], "float64")
        weights = np.exp((scores - scores.max()) / self.temperature)
        return rng.choices([move.iccs for move in ranked], weights.tolist())[0]


@dataclasses.dataclass(frozen=True)
class Match:
    """The outcome of `play_match`, from the first player's side.

    Attributes:
        wins, draws, losses: numbers of games.
        reasons: how the games ended, each with its number; see `xiangqi.Result`, or "ply limit".
        plies: half moves of every game.
    """

    wins: int
    draws: int
    losses: int
    reasons: dict[str, int]
    plies: tuple[int, ...]

    @property
    def games(self) -> int:
        """Number of games."""
        return self.wins + self.draws + self.losses

    @property
    def win_rate(self) -> float:
        """Share of games won, 0 to 1."""
        return self.wins / self.games

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {number}" for reason, number in self.reasons.items())
        return (
            f"{self.wins} won, {self.draws} drawn, {self.losses} lost of {self.games} "
            f"({self.win_rate:.1%} won; {reasons}; {sum(self.plies) / self.games:.0f} plies a game)"
        )


def play_game(
    red: Player, black: Player, rng: random.Random, max_plies: int
) -> tuple[Board, str | None, str]:
    """Plays one game.

    Returns:
        The board at the end, the winner (`"red"`, `"black"` or None) and the reason; a game of
        `max_plies` half moves that goes on is a draw, reason "ply limit".
    """
    if max_plies < 1:
        raise ValueError(f"`max_plies` must be at least 1. Received: {max_plies}")
    board = Board()
    for _ in range(max_plies):
        if (result := board.result()) is not None:
            return board, result.winner, result.reason
        player = red if board.turn == "red" else black
        board.push(player.choose(board, rng))
    result = board.result()
    return (board, None, "ply limit") if result is None else (board, *result)


def play_match(
    a: Player,
    b: Player,
    games: int,
    seed: int = 0,
    max_plies: int = 300,
    progress: bool = False,
) -> Match:
    """Plays games between two players, who take turns with red.

    Args:
        a: has red in the first, third ... game.
        b: has red in the second, fourth ... game.
        games: number of games.
        seed: decides, with the number of a game, what the players draw in it.
        max_plies: half moves after which a game is a draw.
        progress: show a progress bar on a terminal.

    Raises:
        IllegalMove: a player chose one.

    Example:

    >>> match = play_match(RandomPlayer(), RandomPlayer(), games=2, seed=1, max_plies=4)
    >>> match.draws, match.plies
    (2, (4, 4))
    """
    if games < 1:
        raise ValueError(f"`games` must be at least 1. Received: {games}")
    outcomes, reasons, plies = Counter(), Counter(), []
    for number in tqdm(range(games), unit="game", disable=None if progress else True):
        side, other = ("red", "black") if number % 2 == 0 else ("black", "red")
        players = {side: a, other: b}
        rng = random.Random(f"{seed}:{number}")
        board, winner, reason = play_game(players["red"], players["black"], rng, max_plies)
        outcomes[winner and winner == side] += 1
        reasons[reason] += 1
        plies.append(len(board.moves))
    counts = outcomes[True], outcomes[None], outcomes[False]
    return Match(*counts, dict(reasons.most_common()), tuple(plies))
