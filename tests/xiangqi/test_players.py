"""Players and matches: legal, seeded, colours by turns, results by the rules."""

import random
from collections import Counter

import pytest

from kexue_keras.xiangqi import Board, IllegalMove
from kexue_keras.xiangqi.players import (
    CapturePlayer,
    Match,
    ModelPlayer,
    RandomPlayer,
    captured_value,
    play_game,
    play_match,
)

pytestmark = pytest.mark.once


class Scripted:
    """Plays given moves; notes for which side it was asked."""

    def __init__(self, moves):
        self.name, self.moves, self.sides = "scripted", moves, []

    def choose(self, board, rng):
        self.sides.append(board.turn)
        return self.moves[len(board.moves)]


class Scores:
    """Stands for a `MoveScorer`: the later in the alphabet, the better."""

    def __init__(self):
        self.histories = []

    def rank(self, history, moves):
        from kexue_keras.xiangqi.move_scorer import ScoredMove

        self.histories.append(history)
        ranked = sorted(moves, reverse=True)
        return [ScoredMove(m, 1 / len(ranked), -float(i)) for i, m in enumerate(ranked)]


def test_squares_and_values():
    board = Board()
    board.extend("h2e2 h9g7 e2e6".split())
    pieces = board.squares
    assert len(pieces) == 90 and Counter(pieces)["p"] == 4
    assert pieces[4 + 9 * 6] == "C" and pieces[4 + 9 * 2] == "."
    soldiers = Board("3k5/9/9/9/4p4/4P4/9/9/9/5K3 w").squares
    assert captured_value(soldiers, "e5e4") == 1.0
    assert captured_value(soldiers, "e4e5") == 1.0
    crossed = Board("3k5/9/9/4P4/9/9/4p4/9/9/5K3 w").squares
    assert captured_value(crossed, "a6e6") == 2.0
    assert captured_value(crossed, "a3e3") == 2.0
    assert captured_value(crossed, "a3b3") == 0.0


def test_the_capture_player_takes_the_most_valuable():
    # the chariot may take a horse (c0) or a cannon (a3)
    board = Board("3k5/9/9/9/9/9/c8/9/9/R1n1K4 w")
    assert {CapturePlayer().choose(board, random.Random(i)) for i in range(5)} == {"a0a3"}
    quiet = Board()
    quiet.push("a3a4")
    choices = {CapturePlayer().choose(quiet, random.Random(i)) for i in range(40)}
    # of the start's captures, only those of horses by cannons
    assert choices == {"b7b0", "h7h0"}


def test_the_random_player_plays_every_legal_move():
    board, rng = Board(), random.Random(0)
    found = {RandomPlayer().choose(board, rng) for _ in range(500)}
    assert found == set(board.legal_moves())


def test_the_model_player_takes_the_best_or_draws():
    board, scores = Board(), Scores()
    board.push("a3a4")
    best = max(board.legal_moves())
    assert ModelPlayer(scores).choose(board, random.Random(0)) == best
    assert scores.histories == [["a3a4"]]
    drawing = ModelPlayer(scores, temperature=1.0)
    drawn = Counter(drawing.choose(board, random.Random(i)) for i in range(300))
    assert drawn.most_common(1)[0][0] == best and 150 < drawn[best] < 230
    with pytest.raises(ValueError, match="`temperature` must not be negative. Received: -1"):
        ModelPlayer(scores, temperature=-1)


def test_matches_depend_on_the_seed_alone():
    players = CapturePlayer(), RandomPlayer()
    first = play_match(*players, games=2, seed=3, max_plies=30)
    assert first == play_match(*players, games=2, seed=3, max_plies=30)
    boards = [play_game(*players, random.Random(seed), max_plies=10)[0].moves for seed in (0, 0, 1)]
    assert boards[0] == boards[1] != boards[2]


def test_colours_alternate():
    opening = "h2e2 h9g7 h0g2 i9h9".split()
    a, b = Scripted(opening), Scripted(opening)
    match = play_match(a, b, games=3, max_plies=4)
    assert match.plies == (4, 4, 4) and match.draws == 3
    assert a.sides == ["red", "red", "black", "black", "red", "red"]
    assert b.sides == ["black", "black", "red", "red", "black", "black"]


def test_results_are_those_of_the_rules(monkeypatch):
    import kexue_keras.xiangqi.players as module

    monkeypatch.setattr(module, "Board", lambda: Board("3k5/R8/3P5/9/9/9/9/9/9/4K4 w"))
    mate = ["a8d8"]
    match = play_match(Scripted(mate), RandomPlayer(), games=1)
    assert (match.wins, match.draws, match.losses) == (1, 0, 0)
    assert match.reasons == {"checkmate": 1} and match.plies == (1,)
    # at the last allowed ply too
    match = play_match(Scripted(mate), Scripted(mate), games=3, max_plies=1)
    assert (match.wins, match.draws, match.losses) == (2, 0, 1)


def test_the_outcome_as_text():
    match = Match(3, 0, 1, {"checkmate": 4}, (10, 20, 30, 40))
    assert match.games == 4 and match.win_rate == 0.75
    assert str(match) == ("3 won, 0 drawn, 1 lost of 4 (75.0% won; checkmate 4; 25 plies a game)")


def test_errors():
    with pytest.raises(ValueError, match="`games` must be at least 1. Received: 0"):
        play_match(RandomPlayer(), RandomPlayer(), games=0)
    with pytest.raises(ValueError, match="`max_plies` must be at least 1. Received: 0"):
        play_match(RandomPlayer(), RandomPlayer(), games=1, max_plies=0)
    with pytest.raises(IllegalMove, match="'a0a9'"):
        play_match(Scripted(["a0a9"]), RandomPlayer(), games=1)
