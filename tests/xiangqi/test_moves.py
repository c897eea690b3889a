"""Moves in ICCS and as engines write them."""

import pytest

from kexue_keras.xiangqi import Board, moves

NOT_ICCS = ["", "h2", "h2e2 ", "H2E2", "j2e2", "h2e10", "h２e2", "h2e2h9g7", 7, None]


def test_squares_are_numbered_from_red_s_left():
    names = [file + rank for rank in "0123456789" for file in "abcdefghi"]
    assert [moves.square(name) for name in names] == list(range(90))
    board = Board().squares
    assert [board[moves.square(name)] for name in ("e0", "h2", "e9", "b7")] == list("KCkc")
    assert [moves.square_name(number) for number in range(90)] == names


def test_squares_of_a_move():
    assert moves.squares_of("h2e2") == (moves.square("h2"), moves.square("e2")) == (25, 22)


@pytest.mark.parametrize("text", NOT_ICCS)
def test_what_is_no_move(text):
    assert not moves.is_move(text)
    with pytest.raises(ValueError, match="must be in ICCS, like 'h2e2'. Received: "):
        moves.check_move(text)
    with pytest.raises(ValueError, match="`game` must be moves in ICCS.*Received: "):
        moves.checked_moves("game", ["h2e2", text])


def test_every_pair_of_squares_is_well_formed_and_engines_count_ranks_from_1():
    names = [moves.square_name(number) for number in range(90)]
    every = [source + target for source in names for target in names]
    assert all(map(moves.is_move, every))
    assert moves.checked_moves("game", iter(every)) == every
    engine = [moves.to_uci(move) for move in every]
    assert [moves.from_uci(move) for move in engine] == every
    assert moves.to_uci("a0i9") == "a1i10"
    moves.check_move("a0i9")
