"""Moves in Chinese, both ways: the customary form, and all that is understood."""

import pytest

from kexue_keras.xiangqi import Board, IllegalMove, notation

pytestmark = pytest.mark.once


@pytest.mark.parametrize("text", ["炮二平五", "砲２平5", " 包 2 平 五"])
def test_variants_have_one_spelling(text):
    assert notation.normalise(text) == "炮二平五"


def test_an_opening_in_chinese():
    """The central cannon against screen horses, as books print it."""
    book = "炮二平五 马８进７ 马二进三 车９平８ 车一平二 马２进３ 兵七进一 卒７进１".split()
    board = Board()
    for text in book:
        move = board.from_chinese(text)
        assert board.to_chinese(move) == text
        board.push(move)
    assert board.moves == "h2e2 h9g7 h0g2 i9h9 i0h0 b9c7 c3c4 g6g5".split()
    assert board.to_chinese("h0h6") == "车二进六"


# Red's right is file i, black's is file a; the front is where the enemy is.
@pytest.mark.parametrize(
    "fen, named",
    [
        ("3k5/9/9/9/4R4/9/4R4/9/9/5K3 w", {"e5e6": "前车进一", "e3d3": "后车平六"}),
        ("5k3/4r4/9/9/4r4/9/9/9/9/3K5 b", {"e8e7": "后车进１", "e5a5": "前车平１"}),
        ("3k5/9/9/9/4N4/9/9/4N4/9/5K3 w", {"e5d7": "前马进六", "e2c3": "后马进七"}),
        ("4k4/9/9/9/9/9/2C6/9/2C6/3K5 w", {"c3c5": "前炮进二", "c1c2": "后炮进一"}),
        ("4k4/9/9/9/9/9/9/5A3/9/3K1A3 w", {"f2e1": "仕四退五", "f0e1": "仕四进五"}),
        ("2bk5/9/9/9/2b6/9/9/9/9/5K3 b", {"c9e7": "象３进５", "c5e7": "象３退５"}),
        ("3k5/9/9/2P6/2P6/9/9/9/9/5K3 w", {"c6c7": "前兵进一", "c5d5": "后兵平六"}),
        (
            "3k5/9/2P6/2P6/2P6/9/9/9/9/5K3 w",
            {"c7c8": "前兵进一", "c6b6": "中兵平八", "c5d5": "后兵平六"},
        ),
        (
            "3k5/2P6/2P6/2P6/2P6/9/9/9/9/5K3 w",
            {"c8c9": "一兵进一", "c7b7": "二兵平八", "c6d6": "三兵平六", "c5d5": "四兵平六"},
        ),
        (
            "5k3/9/9/9/9/p8/p8/p8/p8/p2K5 b",
            {"a0b0": "一卒平２", "a1b1": "二卒平２", "a4b4": "五卒平２"},
        ),
        (
            "3k5/9/9/2P3P2/2P3P2/4P4/9/9/9/5K3 w",
            {
                "g6g7": "一兵进一",
                "g5f5": "二兵平四",
                "c6c7": "三兵进一",
                "c5b5": "四兵平八",
                "e4e5": "兵五进一",
            },
        ),
        (
            "5k3/9/9/9/9/p3p4/p3p4/9/9/3K5 b",
            {"a3a2": "一卒进１", "a4b4": "二卒平２", "e3e2": "三卒进１", "e4d4": "四卒平４"},
        ),
    ],
)
def test_pieces_on_one_file(fen, named):
    board = Board(fen)
    for move, text in named.items():
        assert board.to_chinese(move) == text
        assert board.from_chinese(text) == move


@pytest.mark.parametrize(
    "text, move",
    [
        ("炮二平五", "h2e2"),
        ("砲2平5", "h2e2"),
        ("包 ２ 平 ５", "h2e2"),
        ("馬二進三", "h0g2"),
        ("傌2进3", "h0g2"),
        ("俥一進一", "i0i1"),
        ("車9进1", "a0a1"),
        ("帥五進一", "e0e1"),
        ("將5进1", "e0e1"),
        ("卒三進一", "g3g4"),
        ("象三进五", "g0e2"),
        ("士四進五", "f0e1"),
    ],
)
def test_variants_of_characters(text, move):
    assert Board().from_chinese(text) == move


def test_other_customs_are_understood():
    advisors = Board("4k4/9/9/9/9/9/9/5A3/9/3K1A3 w")
    assert advisors.from_chinese("前士退五") == "f2e1"
    soldiers = Board("3k5/9/2P6/2P6/2P6/9/9/9/9/5K3 w")
    assert soldiers.from_chinese("二兵平八") == soldiers.from_chinese("中兵平八") == "c6b6"
    two_files = Board("3k5/9/9/2P3P2/2P3P2/9/9/9/9/5K3 w")
    assert two_files.from_chinese("前兵平八") == "c6b6"
    with pytest.raises(ValueError, match="'前兵进一' may be c6c7 or g6g7"):
        two_files.from_chinese("前兵进一")
    cannons = Board("3k5/9/9/9/4R4/9/4R4/9/9/5K3 w")
    with pytest.raises(IllegalMove, match="'後車進五' is not legal for red at ply 1"):
        cannons.from_chinese("後車進五")


@pytest.mark.parametrize("text", ["", "炮二", "炮二平", "炮二平十", "h2e2", "炮0平5", None, 5])
def test_malformed_chinese(text):
    with pytest.raises(ValueError, match="must be in Chinese, like '炮二平五'. Received"):
        Board().from_chinese(text)


def test_to_chinese_of_an_illegal_move():
    with pytest.raises(IllegalMove, match="'e0e2' is not legal for red at ply 1"):
        Board().to_chinese("e0e2")
