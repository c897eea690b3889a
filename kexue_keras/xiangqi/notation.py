"""The Chinese notation of xiangqi moves, such as 炮二平五, on a board given as 90 squares.

Squares are numbered file + 9 * rank from red's left corner and hold a letter of a FEN or `.`.
`kexue_keras.xiangqi.Board` is the way to use it: it knows which moves are legal.

Reference: https://kexue.fm/archives/7877
"""

import re
from collections.abc import Sequence

from kexue_keras.xiangqi.moves import square, squares_of

NAMES = dict(zip("RNBAKCPrnbakcp", "车马相仕帅炮兵车马象士将炮卒", strict=True))

_NUMERALS = {"red": "一二三四五六七八九", "black": "１２３４５６７８９"}
_ORDINALS = "一二三四五"
_PLACES = {2: "前后", 3: "前中后", 4: "前  后", 5: "前   后"}
_ALIASES = str.maketrans(
    "車俥馬傌砲包帥將将卒象仕進後123456789１２３４５６７８９",
    "车车马马炮炮帅帅帅兵相士进后一二三四五六七八九一二三四五六七八九",
)
_LETTERS = dict(zip("车马相士帅炮兵", "RNBAKCP", strict=True))
_MOVE = re.compile(
    "(?:[车马相士帅炮兵][一二三四五六七八九]|[前中后一二三四五][车马相士帅炮兵])"
    "[进退平][一二三四五六七八九]"
)


def ordinals(squares: Sequence[str], at: int) -> list[str]:
    """The ways to tell the piece at `at` from its like on the same file, the customary one first.

    An empty string stands for the piece's name with its file, which is customary for the only one
    on a file, and for advisors and elephants: of two on a file, one can only advance.
    """
    piece = squares[at]
    files: dict[int, list[int]] = {}
    for other in reversed(range(90)) if piece.isupper() else range(90):
        if squares[other] == piece:
            files.setdefault(other % 9, []).append(other)
    same_file = files[at % 9]
    place, count = same_file.index(at), len(same_file)
    if count == 1:
        return [""]
    by_place = [_PLACES[count][place]] if _PLACES[count][place] != " " else []
    if piece in "AaBb":
        return ["", *by_place]
    if piece not in "Pp":
        return by_place
    # The player's right is file i for red and file a for black.
    crowded = sorted((f for f in files if len(files[f]) > 1), reverse=piece.isupper())
    if len(crowded) > 1:
        before = sum(len(files[f]) for f in crowded[: crowded.index(at % 9)])
        return [_ORDINALS[before + place], *by_place]
    by_number = [_ORDINALS[place]]
    return by_number + by_place if count > 3 else by_place + by_number


def spellings(squares: Sequence[str], iccs: str) -> list[str]:
    """A move of the piece on its first square in Chinese, the customary form first.

    Example:

    >>> squares = list(90 * ".")
    >>> squares[square("h2")] = squares[square("h0")] = "C"
    >>> spellings(squares, "h2e2"), spellings(squares, "h0h1")
    (['前炮平五'], ['后炮进一'])
    """
    source, target = squares_of(iccs)
    piece = squares[source]
    red = piece.isupper()
    numerals = _NUMERALS["red" if red else "black"]
    from_file, to_file = (8 - at % 9 if red else at % 9 for at in (source, target))
    ahead = (target // 9 - source // 9) * (1 if red else -1)
    by_steps = ahead != 0 and piece not in "NBAnba"
    action = "平" if ahead == 0 else "进" if ahead > 0 else "退"
    action += numerals[abs(ahead) - 1 if by_steps else to_file]
    name = NAMES[piece]
    return [
        (ordinal + name if ordinal else name + numerals[from_file]) + action
        for ordinal in ordinals(squares, source)
    ]


def normalise(text: str) -> str:
    """One spelling for all variants of characters, sides' names and digits, without spaces.

    Example:

    >>> normalise("砲 2 平 5"), normalise("將５進１")
    ('炮二平五', '帅五进一')
    """
    return re.sub(r"\s", "", text).translate(_ALIASES)


def find(squares: Sequence[str], legal: Sequence[str], text: str) -> list[str]:
    """Those of the legal moves that `text` may name.

    Raises:
        ValueError: if `text` is not Chinese notation.
    """
    plain = normalise(text) if isinstance(text, str) else ""
    if not _MOVE.fullmatch(plain):
        raise ValueError(f"A move must be in Chinese, like '炮二平五'. Received: {text!r}")
    letter = _LETTERS[plain[0] if plain[0] in _LETTERS else plain[1]]
    candidates = [iccs for iccs in legal if squares[square(iccs[:2])].upper() == letter]
    for rank in range(3):
        if found := [
            iccs
            for iccs in candidates
            if plain in map(normalise, spellings(squares, iccs)[rank : rank + 1])
        ]:
            return found
    return []
