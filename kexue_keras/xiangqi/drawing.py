"""Pictures of a board of Chinese chess. Matplotlib loads on first use."""

import os

from kexue_keras.files import write_picture
from kexue_keras.fonts import find_font
from kexue_keras.xiangqi.board import Board
from kexue_keras.xiangqi.moves import FILES, squares_of

CHARACTERS = dict(zip("RNBAKCPrnbakcp", "俥傌相仕帥炮兵車馬象士將砲卒", strict=True))
"""The character on a piece, in the traditional script that sets of pieces have."""

_WOOD, _LINES, _PIECE, _RIM = "#f0d9ac", "#6b4a1e", "#fdf3dc", "#b98d4f"
_RED, _BLACK, _MARK = "#b8141f", "#1d1d1d", "#2e7d46"


def draw_board(
    board: Board, path: str | os.PathLike, font: str | os.PathLike | None = None, dpi: int = 90
) -> str | os.PathLike | None:
    """Draws a position, red below, the last move marked.

    Args:
        board: the position.
        path: file to write, such as `board.png`.
        font: file of a font; None: an installed one that has all characters.
        dpi: points of the picture per inch; it is 5 inches wide.

    Returns:
        `path`; None, with a warning that says what to install, if no font has all characters:
        nothing is written then.

    Raises:
        ValueError: `font` is no font or lacks characters.

    Example: `draw_board(Board(), "board.png")`.

    Reference: https://kexue.fm/archives/7877
    """
    text = "".join(CHARACTERS.values()) + "楚河漢界" + FILES + "0123456789"
    file = find_font(text, font)
    if file is None:
        return None
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import Circle, Rectangle

    figure = Figure(figsize=(5.0, 5.5), dpi=dpi, facecolor=_WOOD)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1, 9), ylim=(-1, 10), aspect="equal")
    axes.axis("off")

    def line(x, y, width=1.0):
        axes.plot(x, y, color=_LINES, linewidth=width, solid_capstyle="round", zorder=1)

    axes.add_patch(
        Rectangle((-0.12, -0.12), 8.24, 9.24, fill=False, edgecolor=_LINES, linewidth=2.2)
    )
    for rank in range(10):
        line((0, 8), (rank, rank))
    for file_number in range(9):
        for low, high in ((0, 9),) if file_number in (0, 8) else ((0, 4), (5, 9)):
            line((file_number, file_number), (low, high))
    for low in (0, 7):
        line((3, 5), (low, low + 2))
        line((3, 5), (low + 2, low))
    for place in [(x, y) for x in (1, 7) for y in (2, 7)] + [
        (x, y) for x in range(0, 9, 2) for y in (3, 6)
    ]:
        _corners(line, *place)

    river = FontProperties(fname=file, size=19)
    for x, text in ((2.0, "楚 河"), (6.0, "漢 界")):
        axes.text(
            x, 4.5, text, ha="center", va="center_baseline", color=_LINES, fontproperties=river
        )
    small = FontProperties(fname=file, size=9)
    grey = {"ha": "center", "va": "center_baseline", "color": _LINES, "fontproperties": small}
    for number, name in enumerate(FILES):
        axes.text(number, -0.72, name, **grey)
    for rank in range(10):
        axes.text(-0.72, rank, str(rank), **grey)

    large = FontProperties(fname=file, size=19)
    for at, piece in enumerate(board.squares):
        if piece == ".":
            continue
        rank, x = divmod(at, 9)
        colour = _RED if piece.isupper() else _BLACK
        axes.add_patch(Circle((x + 0.03, rank - 0.04), 0.44, color="#00000030", zorder=2))
        axes.add_patch(Circle((x, rank), 0.44, facecolor=_PIECE, edgecolor=_RIM, zorder=3))
        axes.add_patch(Circle((x, rank), 0.37, fill=False, edgecolor=colour, zorder=3))
        axes.text(
            x,
            rank,
            CHARACTERS[piece],
            ha="center",
            va="center_baseline",
            color=colour,
            fontproperties=large,
            zorder=4,
        )
    if board.moves:
        source, target = (divmod(at, 9) for at in squares_of(board.moves[-1]))
        axes.add_patch(
            Circle(source[::-1], 0.2, fill=False, edgecolor=_MARK, linewidth=2, zorder=3)
        )
        axes.add_patch(
            Circle(target[::-1], 0.48, fill=False, edgecolor=_MARK, linewidth=2.4, zorder=5)
        )
    write_picture(path, figure)
    return path


def _corners(line, x, y):
    """The four angles around a starting place of a cannon or soldier."""
    near, far = 0.09, 0.26
    for right in (-1, 1):
        if not 0 <= x + right * near <= 8:
            continue
        for up in (-1, 1):
            line((x + right * near, x + right * near), (y + up * near, y + up * far), 0.8)
            line((x + right * near, x + right * far), (y + up * near, y + up * near), 0.8)
