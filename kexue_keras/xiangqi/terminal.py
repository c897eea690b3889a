"""A game of Chinese chess against a model, in the terminal."""

import time
from typing import Any

from kexue_keras.xiangqi.board import Board


def read_move(board: Board, text: str) -> str:
    """The legal move that a player typed, in ICCS; as `h2e2` or as 炮二平五.

    Example:

    >>> read_move(Board(), "H2E2"), read_move(Board(), "炮二平五")
    ('h2e2', 'h2e2')
    """
    text = text.strip()
    if text.isascii():
        text = text.lower()
        board.push(text)
        return board.pop()
    return board.from_chinese(text)


def play(scorer: Any, side: str) -> None:
    """Plays one game, until its end, `quit` or the end of the input.

    Args:
        scorer: a `MoveScorer`, or what has its `rank`.
        side: the player's, "red" or "black".
    """
    board = Board()
    print("Moves like h2e2 or 炮二平五; `undo` takes back your last move, `quit` ends.")
    while (result := board.result()) is None:
        if board.turn != side:
            start = time.perf_counter()
            ranked = scorer.rank(board.moves, board.legal_moves())
            spent = 1000 * (time.perf_counter() - start)
            best = (f"{board.to_chinese(m.iccs)} {m.probability:.0%}" for m in ranked[:5])
            print(f"model: {board.to_chinese(ranked[0].iccs)} {ranked[0].iccs}", end=" ")
            print(f"({', '.join(best)}; {spent:.0f} ms)")
            board.push(ranked[0].iccs)
            continue
        print(board)
        try:
            text = input(f"{side}> ").strip()
        except EOFError:
            text = "quit"
        if text == "quit":
            return
        if text == "undo":
            for _ in range(2 if len(board.moves) > 1 else 0):
                board.pop()
            continue
        try:
            board.push(read_move(board, text))
        except ValueError as error:
            print(error)
    print(board)
    print(f"{result.reason}: {f'{result.winner} wins' if result.winner else 'a draw'}")
