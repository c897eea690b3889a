"""A font for pictures with Chinese text; matplotlib's own has no Chinese characters.

No deep-learning framework is imported.
"""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path

# parts of the names of fonts that are good to read, the best first; any other comes after them
_PREFERRED = (
    "notosanscjk", "sourcehansans", "notosanssc", "pingfang", "yahei", "wqy", "wenquanyi", "simhei",
    "notoserifcjk", "songti", "simsun", "wenkai",
)  # fmt: skip


def find_font(text: str, font: str | os.PathLike | None = None) -> Path | None:
    """The file of a font that has all characters of a text.

    Args:
        text: what is to be drawn.
        font: file of a font to take; None: an installed one, also one that was installed after
            matplotlib made its list of fonts.

    Returns:
        The path; None, with a warning that says what to install, if no font has them all.

    Raises:
        ValueError: `font` is no font, or lacks characters of the text.

    Example:

    >>> find_font("kexue").suffix in (".ttf", ".otf", ".ttc")
    True
    """
    if font is not None:
        lacking = _lacking(font, text)
        if lacking is None:
            raise ValueError(f"`font` must be the file of a font. Received: {str(font)!r}")
        if lacking:
            raise ValueError(
                f"`font` must have the characters {lacking[:20]!r}. Received: {str(font)!r}"
            )
        return Path(font)
    for path in _installed():
        if _lacking(path, text) == "":
            return Path(path)
    strange = "".join(sorted({c for c in text if ord(c) > 127}))
    warnings.warn(
        f"No picture was drawn, as no installed font has the characters {strange[:20]!r}. Install "
        "one (Debian: apt install fonts-noto-cjk), or give the file of one: `font`.",
        stacklevel=3,
    )
    return None


def _lacking(path: str | os.PathLike, text: str) -> str | None:
    """Characters of the text without a glyph in the font; None if the file is no font."""
    from matplotlib.ft2font import FT2Font

    try:
        face = FT2Font(os.fspath(path))
    except (OSError, RuntimeError):  # what FreeType cannot read
        return None
    return "".join(sorted({c for c in text if not c.isspace() and not face.get_char_index(ord(c))}))


def _installed() -> Iterable[str]:
    """Files of installed fonts, those that are good to read first."""
    from matplotlib import font_manager

    known = {entry.fname: entry for entry in font_manager.fontManager.ttflist}
    paths = [*known, *sorted(set(font_manager.findSystemFonts()) - set(known))]
    # it has a box in the place of every character
    paths = [path for path in paths if "lastresort" not in path.lower()]

    def rank(path):
        entry, name = known.get(path), Path(path).stem.lower().replace("-", "").replace("_", "")
        preferred = next((i for i, part in enumerate(_PREFERRED) if part in name), len(_PREFERRED))
        plain = entry is None or (entry.style == "normal" and entry.weight in (400, "regular"))
        return preferred, not plain, "regular" not in name

    return sorted(paths, key=rank)
