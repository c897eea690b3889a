"""The picture of a board."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from kexue_keras import xiangqi
from kexue_keras.xiangqi import drawing

pytestmark = pytest.mark.once

OWN = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
PIECE, MARK = (253, 243, 220), (46, 125, 70)


def squares_with(colour, path):
    """The squares around whose middle pixels have the colour."""
    pixels = imread(path)[..., :3] * 255
    high, wide = pixels.shape[:2]
    found = set()
    for at in range(90):
        rank, file = divmod(at, 9)
        x, y = (file + 1) / 10 * wide, (10 - rank) / 11 * high
        part = pixels[int(y - 21) : int(y + 21), int(x - 21) : int(x + 21)]
        if (np.abs(part - colour).max(-1) < 9).sum() > 15:
            found.add(at)
    return found


@pytest.fixture
def latin(monkeypatch):
    """Letters in the place of characters, so that any machine has a font."""
    monkeypatch.setattr(drawing, "find_font", lambda text, font: OWN)
    monkeypatch.setattr(drawing, "CHARACTERS", {p: p for p in drawing.CHARACTERS})


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_pieces_stand_on_their_squares_and_the_last_move_is_marked(latin, tmp_path):
    board = xiangqi.Board()
    path = tmp_path / "new" / "board.png"
    assert xiangqi.draw_board(board, path) == path
    assert squares_with(PIECE, path) == {i for i, p in enumerate(board.squares) if p != "."}
    assert not squares_with(MARK, path)
    board.push("h2e2")
    xiangqi.draw_board(board, path)
    assert squares_with(PIECE, path) == {i for i, p in enumerate(board.squares) if p != "."}
    assert squares_with(MARK, path) == {2 * 9 + 7, 2 * 9 + 4}


def test_pieces_have_the_characters_of_a_set():
    assert [drawing.CHARACTERS[p] for p in "KRNBACP"] == list("帥俥傌相仕炮兵")
    assert [drawing.CHARACTERS[p] for p in "krnbacp"] == list("將車馬象士砲卒")


def test_a_font_without_the_characters_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`font` must have the characters"):
        xiangqi.draw_board(xiangqi.Board(), tmp_path / "board.png", OWN)


def test_without_a_font_there_is_a_notice_and_no_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "CHARACTERS", {"K": "\U0010fffd"})
    with pytest.warns(UserWarning, match="fonts-noto-cjk"):
        assert xiangqi.draw_board(xiangqi.Board(), tmp_path / "board.png") is None
    assert not list(tmp_path.iterdir())
