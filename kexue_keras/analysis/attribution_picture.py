"""A picture in which red and blue mark the tokens that decide."""

import unicodedata

import numpy as np

from kexue_keras.analysis.attribution_colors import checked, shade
from kexue_keras.files import write_picture
from kexue_keras.fonts import find_font

# in widths of a Chinese character
_LINE, _GAP, _BETWEEN = 1.75, 0.22, 0.75
_GREY = "#666666"
# no line begins with these
_CLOSING = set("，。、；：！？）》」』”’,.;:!?)")


def attribution_picture(
    tokens, scores, path, *, captions=None, ends=("against", "for"), font=None, width=32, dpi=110
):
    """Draws the tokens of samples, each on its colour; what `attribution_html` shows.

    Args:
        tokens: list of lists of str, the tokens of every sample.
        scores: list of sequences of numbers, for every token one; those after the last are left
            out.
        path: file to write, such as `attributions.png`.
        captions: list of str, a line above every sample, or None.
        ends: what blue and red mean.
        font: file of a font; None: an installed one that has all characters.
        width: of a line, in Chinese characters.
        dpi: points of the picture per inch; a character is 0.2 inches wide.

    Returns:
        `path`; None, with a warning that says what to install, if no font has all characters:
        nothing is written then.

    Raises:
        ValueError: tokens, scores and captions do not go together, or `font` lacks characters.

    Example:

    >>> import tempfile
    >>> from kexue_keras import analysis
    >>> path = tempfile.mkdtemp() + "/attributions.png"
    >>> analysis.attribution_picture([["very", "good"]], [[0.5, 1.0]], path) == path
    True

    Reference: https://kexue.fm/archives/7533
    """
    samples = checked(tokens, scores)
    if captions is not None and len(captions) != len(samples):
        raise ValueError(
            f"`captions` must be {len(samples)}, one a sample. Received: {len(captions)}"
        )
    captions = [""] * len(samples) if captions is None else list(captions)
    texts = [text for found, _ in samples for text in found]
    file = find_font("".join([*texts, *captions, *ends]), font)
    if file is None:
        return None
    boxes, labels, bottom = [], [], 0.3
    for (found, row), caption in zip(samples, captions, strict=True):
        largest = float(np.abs(row).max(initial=0.0))
        if caption:
            labels.append((0.3, bottom + 0.5, caption))
            bottom += 1.15
        for line in _lines(found, width):
            for i, left, size in line:
                boxes.append((left, bottom, size, found[i], *shade(row[i], largest)))
            bottom += _LINE
        bottom += _BETWEEN
    _draw(path, boxes, labels, ends, (width + 2.0, bottom + 1.0), file, dpi)
    return path


def _size(text):
    """The width of a token, in Chinese characters."""
    return sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.58 for c in text) + _GAP


def _lines(texts, width):
    """Lists of the tokens of a line: number, left side and width of each."""
    lines, left = [[]], 0.3
    for i, text in enumerate(texts):
        size = _size(text)
        if lines[-1] and left + size > width + 0.3 and text not in _CLOSING:
            lines.append([])
            left = 0.3
        lines[-1].append((i, left, size))
        left += size + 0.06
    return lines


def _draw(path, boxes, labels, ends, size, file, dpi):
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import FancyBboxPatch

    inch = 0.2
    figure = Figure(figsize=(size[0] * inch, size[1] * inch), dpi=dpi)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    axes.axis("off")
    large = FontProperties(fname=file, size=72 * inch)
    small = FontProperties(fname=file, size=50 * inch)
    style = {"ha": "center", "va": "center_baseline"}
    for left, top, wide, text, background, colour in boxes:
        rounded = "round,pad=0,rounding_size=0.18"
        box = FancyBboxPatch((left, top), wide, 1.4, rounded, color=background, linewidth=0)
        axes.add_patch(box)
        middle = left + wide / 2, top + 0.72
        axes.text(*middle, text, color=colour, fontproperties=large, **style)
    grey = {"color": _GREY, "fontproperties": small}
    for left, middle, text in labels:
        axes.text(left, middle, text, va="center_baseline", ha="left", **grey)
    # the legend, from blue to red
    middle, top = size[0] / 2, size[1] - 1.0
    shares = np.linspace(-1, 1, 41)
    for share in shares:
        background, _ = shade(share, 1.0)
        left = middle + 4 * share - 0.1
        axes.add_patch(FancyBboxPatch((left, top), 0.2, 0.4, "square,pad=0", color=background))
    axes.text(middle - 4.5, top + 0.2, ends[0], ha="right", va="center", **grey)
    axes.text(middle + 4.5, top + 0.2, ends[1], ha="left", va="center", **grey)
    write_picture(path, figure)
