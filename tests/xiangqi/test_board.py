"""Chinese chess: the rules by perft, real games, the ends of games."""

import builtins
import random

import pyffish
import pytest

from kexue_keras import datasets, xiangqi
from kexue_keras.xiangqi import Board, IllegalMove, Result

TEST_GAMES = "data/xiangqi/games_test.tsv.xz"


def uci(moves):
    return [f"{m[0]}{int(m[1]) + 1}{m[2]}{int(m[3]) + 1}" for m in moves]


@pytest.fixture(scope="module")
def games(shared):
    return [moves for _, moves in datasets.load_xiangqi(shared / TEST_GAMES)]


@pytest.fixture(scope="module")
def positions(games):
    """Boards after a random number of moves of real games."""
    chosen = random.Random(7877)
    boards = []
    for moves in chosen.sample(games, 300):
        board = Board()
        board.extend(moves[: chosen.randrange(len(moves))])
        boards.append(board)
    return boards


@pytest.mark.parametrize("depth, count", [(0, 1), (1, 44), (2, 1920), (3, 79666)])
def test_perft(depth, count):
    board = Board()
    assert board.perft(depth) == count
    assert board.fen == xiangqi.START_FEN and board.moves == []


@pytest.mark.slow
def test_perft_4():
    assert Board().perft(4) == 3_290_240


# Worked out by hand: a horse in the middle and one with blocked legs, elephants with a blocked
# eye, a cannon over a screen, a pinned piece between the generals, soldiers before and past the
# river, the palace.
@pytest.mark.parametrize(
    "fen, square, targets",
    [
        ("3k5/9/9/9/9/4N4/9/9/9/5K3 w", "e4", "c3 c5 d2 d6 f2 f6 g3 g5"),
        ("3k5/9/9/9/4p4/3pN4/9/9/9/5K3 w", "e4", "d2 f2 g3 g5"),
        ("3k5/9/9/9/9/9/9/4B4/3p5/5K3 w", "e2", "c4 g0 g4"),
        ("3k5/9/9/9/4r4/9/4p4/9/4C4/5K3 w", "e1", "a1 b1 c1 d1 f1 g1 h1 i1 e0 e2 e5"),
        ("4k4/9/9/9/4N4/9/9/9/9/4K4 w", "e5", ""),
        ("3k5/9/9/9/9/9/4P4/9/9/5K3 w", "e3", "e4"),
        ("3k5/9/9/9/4P4/9/9/9/9/5K3 w", "e5", "d5 e6 f5"),
        ("5k3/9/9/9/9/9/9/9/9/3K5 w", "d0", "d1 e0"),
        ("5k3/9/9/9/9/9/9/9/4A4/3K5 w", "e1", "f0 d2 f2"),
    ],
)
def test_each_piece(fen, square, targets):
    found = {move[2:] for move in Board(fen).legal_moves() if move[:2] == square}
    assert found == set(targets.split())


def test_legal_moves_are_sorted_and_a_copy():
    board = Board()
    moves = board.legal_moves()
    assert moves == sorted(moves) and "h2e2" in moves and "h0g2" in moves
    moves.clear()
    board.moves.append("h2e2")
    assert len(board.legal_moves()) == 44 and board.moves == []


def test_real_games_are_legal_and_those_ending_in_mate_were_won(shared):
    games = datasets.load_xiangqi(shared / TEST_GAMES)
    winners = {"1-0": "red", "0-1": "black"}
    mates = 0
    for result, moves in games:
        board = Board()
        board.extend(moves)
        if not board.legal_moves():
            assert winners[result] == board.result().winner
            mates += 1
    assert (len(games), mates) == (791, 11)


def test_fen_is_that_of_pyffish(positions):
    for board in positions:
        assert board.fen == pyffish.get_fen("xiangqi", xiangqi.START_FEN, uci(board.moves))
        assert Board(board.fen).fen == board.fen


def test_the_history_does_not_change_what_is_legal(positions):
    for board in positions[:100]:
        moves = pyffish.legal_moves("xiangqi", xiangqi.START_FEN, uci(board.moves))
        assert sorted(uci(board.legal_moves())) == sorted(moves)
        assert len(moves) <= 111
        assert not pyffish.is_immediate_game_end("xiangqi", board.fen, [])[0]


def test_pop_restores_everything(games):
    board = Board()
    seen = []
    for move in games[0]:
        seen.append((board.fen, board.turn, str(board)))
        board.extend([move])
    for move in reversed(games[0]):
        assert board.pop() == move
        assert (board.fen, board.turn, str(board)) == seen.pop()
    assert len(board.legal_moves()) == 44
    with pytest.raises(IndexError, match="no move to take back"):
        board.pop()


def test_push_is_extend(games):
    pushed, extended = Board(), Board()
    for move in games[1][:30]:
        pushed.push(move)
    extended.extend(iter(games[1][:30]))
    assert pushed.fen == extended.fen and pushed.moves == extended.moves


def test_illegal_moves_change_nothing():
    board = Board()
    board.push("h2e2")
    before = board.fen
    with pytest.raises(IllegalMove, match="'h9h7' is not legal for black at ply 2"):
        board.push("h9h7")
    with pytest.raises(IllegalMove, match="'h0h5' is not legal for red at ply 3") as raised:
        board.extend(["h9g7", "h0h5", "a9a8"])
    assert isinstance(raised.value, ValueError)
    with pytest.raises(ValueError, match="in ICCS"):
        board.extend(["h9g7", "j0a0"])
    assert board.fen == before and board.moves == ["h2e2"] and board.turn == "black"


@pytest.mark.parametrize("move", ["", "h2", "h2e2 ", "H2E2", "j2e2", "h2e10", "h２e2", 7, None])
def test_malformed_iccs(move):
    for act in (Board().push, Board().to_chinese):
        with pytest.raises(ValueError, match="must be in ICCS, like 'h2e2'. Received"):
            act(move)


START_RANKS = "9/1c5c1/p1p1p1p1p/9/9/P1P1P1P1P/1C5C1/9"


@pytest.mark.parametrize(
    "fen, why",
    [
        ("", "6 fields"),
        (3, "6 fields"),
        (f"rnbakabnr/{START_RANKS}/RNBAKABNR", "6 fields"),
        (f"rnbakabnr/{START_RANKS}/RNBAKABNR x", "the side w"),
        (f"rnbakabnr/{START_RANKS}/RNBAKABNR w - - a 1", "two numbers"),
        (f"rnbakabnr/{START_RANKS}/RNBAKABN w", "10 ranks of 9"),
        (f"rnbakabnr/{START_RANKS} w", "10 ranks of 9"),
        (f"rnbakabnr/{START_RANKS}/RNBAQABNR w", "unknown piece 'Q'"),
        (f"rnba1abnr/{START_RANKS}/RNBAKABNR w", "exactly 1 'k', it has 0"),
        (f"rnbakabnr/{START_RANKS}/RNRAKABNR w", "at most 2 'R', it has 3"),
        ("4k4/9/9/9/9/9/9/9/4P4/3K5 w", "'P' on e1"),
        ("4k4/9/9/9/9/9/1P7/9/9/3K5 w", "'P' on b3"),
        ("4k4/9/b8/9/9/9/9/9/9/3K5 w", None),
        ("4k4/b8/9/9/9/9/9/9/9/3K5 w", "'b' on a8"),
        ("4k4/9/9/9/9/9/9/9/9/2K6 w", "'K' on c0"),
        ("4k4/9/9/9/9/9/9/9/9/3KA4 w", "'A' on e0"),
        ("4k4/9/9/9/9/9/9/9/9/4K4 w", "facing"),
        ("4k4/4R4/9/9/9/9/9/9/9/3K5 w", "black in check while red is to move"),
    ],
)
def test_bad_fen(fen, why):
    if why is None:
        assert Board(fen).fen == f"{fen} - - 0 1"
    else:
        with pytest.raises(ValueError, match=f"`fen` .*{why}.* Received: ") as raised:
            Board(fen)
        assert repr(fen) in str(raised.value)


def test_fen_side_r_is_red():
    assert Board(f"rnbakabnr/{START_RANKS}/RNBAKABNR r").fen == xiangqi.START_FEN


def test_perft_depth():
    with pytest.raises(ValueError, match="`depth` must be .* Received: -1"):
        Board().perft(-1)


def test_notation_round_trip(positions):
    for board in positions:
        names = [board.to_chinese(move) for move in board.legal_moves()]
        assert len(set(names)) == len(names)
    chosen = random.Random(0)
    for board in positions[:200]:
        moves = board.legal_moves()
        for move in chosen.sample(moves, min(12, len(moves))):
            assert board.from_chinese(board.to_chinese(move)) == move


@pytest.mark.parametrize(
    "fen, result",
    [
        (None, None),
        ("3k5/3R5/3P5/9/9/9/9/9/9/4K4 b", Result("red", "checkmate")),
        ("4k4/9/9/9/9/9/9/3p5/3r5/3K5 w", Result("black", "checkmate")),
        ("3k5/4P4/9/9/9/9/9/9/9/4K4 b", Result("red", "stalemate")),
        ("4k4/9/9/9/9/9/9/9/4p4/3K5 w", Result("black", "stalemate")),
        ("4k4/9/9/9/9/9/9/4B4/9/3K5 w", Result(None, "insufficient material")),
        ("4k4/9/9/9/9/9/P8/9/9/3K5 w", None),
        ("4k4/9/9/9/9/9/P8/9/9/3K5 w - - 99 80", None),
        ("4k4/9/9/9/9/9/P8/9/9/3K5 w - - 100 80", Result(None, "move limit")),
    ],
)
def test_result(fen, result):
    assert Board(fen).result() == result


def test_insufficient_material_as_in_pyffish():
    for fen in ("4k4/9/9/9/9/9/9/4B4/9/3K5 w", "4k4/9/9/9/9/9/P8/9/9/3K5 w"):
        drawn = all(pyffish.has_insufficient_material("xiangqi", f"{fen} - - 0 1", []))
        assert drawn == (Board(fen).result() is not None)


@pytest.mark.parametrize(
    "fen, cycle, result",
    [
        (None, 2 * "h0g2 h9g7 g2h0 g7h9 ", Result(None, "repetition")),
        (
            "3k5/9/9/9/9/9/9/9/4A4/R3K4 w",
            "a0a9 d9d8 a9a8 d8d9 a8a9 d9d8 a9a8 d8d9 a8a9",
            Result("black", "perpetual check"),
        ),
        (
            "4k4/9/9/9/9/9/n8/9/4A4/1R2K4 w",
            2 * "b0a0 a3b5 a0b0 b5a3 ",
            Result("black", "perpetual chase"),
        ),
    ],
)
def test_repetition(fen, cycle, result):
    board = Board(fen)
    for move in cycle.split():
        assert board.result() is None
        board.push(move)
    assert board.result() == result
    board.pop()
    assert board.result() is None


def test_the_side_that_checks_for_ever_may_be_black():
    board = Board("r3k4/4a4/9/9/9/9/9/9/9/3K5 b")
    board.extend("a9a0 d0d1 a0a1 d1d0 a1a0 d0d1 a0a1 d1d0 a1a0".split())
    assert board.result() == Result("red", "perpetual check")


def test_printed_board():
    board = Board()
    board.push("h2e2")
    lines = str(board).split("\n")
    assert lines[0] == "9 車 馬 象 士 将 士 象 馬 車"
    assert "楚 河" in lines[5] and "漢 界" in lines[5]
    assert lines[8] == "2 ． 炮 ． ． 炮 ． ． ． ．"
    assert lines[10] == "0 车 马 相 仕 帅 仕 相 马 车"
    assert lines[11:] == ["  ａ ｂ ｃ ｄ ｅ ｆ ｇ ｈ ｉ", "black to move"]
    assert repr(board) == f"Board('{board.fen}')"


def test_pyffish_is_asked_for_by_name(monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pyffish":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"kexue_keras\[xiangqi\]"):
        Board()
