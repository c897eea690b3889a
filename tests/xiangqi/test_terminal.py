"""A game in the terminal: typed moves, and the end."""

import pytest

from kexue_keras.xiangqi import Board, IllegalMove, terminal
from kexue_keras.xiangqi.move_scorer import ScoredMove

pytestmark = pytest.mark.once


def test_typed_moves():
    board = Board()
    assert terminal.read_move(board, " H2E2 ") == "h2e2" == terminal.read_move(board, "炮二平五")
    assert board.moves == []
    with pytest.raises(IllegalMove, match="'h2e3' is not legal for red"):
        terminal.read_move(board, "h2e3")
    with pytest.raises(ValueError, match="A move must be in Chinese"):
        terminal.read_move(board, "炮二")


class First:
    """Stands for a `MoveScorer`: the first legal move."""

    def rank(self, history, moves):
        return [ScoredMove(iccs, 1 / len(moves), 0.0) for iccs in moves]


def test_a_game_as_black_to_its_end(monkeypatch, capsys):
    class Mate(First):
        def rank(self, history, moves):
            return super().rank(history, ["a8d8"] + [m for m in moves if m != "a8d8"])

    monkeypatch.setattr(terminal, "Board", lambda: Board("3k5/R8/3P5/9/9/9/9/9/9/4K4 w"))
    terminal.play(Mate(), "black")
    assert "checkmate: red wins" in capsys.readouterr().out
