"""The picture of attributions: colours where the tokens are, and no picture without a font."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from kexue_keras import analysis

pytestmark = pytest.mark.once

OWN = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
RED, BLUE = (200, 30, 45), (25, 85, 180)


def share_of(colour, pixels):
    """The share of the pixels that have the colour."""
    return np.mean(np.abs(pixels[..., :3] * 255 - colour).max(-1) < 9)


def test_red_and_blue_are_drawn_where_the_tokens_stand(tmp_path):
    path = tmp_path / "new" / "picture.png"
    found = analysis.attribution_picture(
        [["very", "##good"], ["bad"]],
        [[0.0, 2.0, 7.0], [-1.0]],
        path,
        captions=["one", ""],
        font=OWN,
        width=10,
    )
    assert found == path
    pixels = imread(path)
    high, wide = pixels.shape[:2]
    upper, lower = pixels[: int(0.45 * high)], pixels[int(0.45 * high) : int(0.8 * high)]
    assert share_of(RED, upper) > 0.02 and share_of(BLUE, upper) == 0
    assert share_of(BLUE, lower) > 0.02 and share_of(RED, lower) == 0
    assert share_of(RED, upper[:, : wide // 5]) == 0  # "very" is white
    legend = pixels[int(0.85 * high) :]
    assert share_of(RED, legend) > 0 and share_of(BLUE, legend[:, : wide // 2]) > 0


def test_long_texts_go_on_in_a_new_line(tmp_path):
    sizes = []
    for count in (2, 30):
        path = tmp_path / f"{count}.png"
        analysis.attribution_picture([["word"] * count], [np.ones(count)], path, font=OWN, width=12)
        sizes.append(imread(path).shape[:2])
    assert sizes[1][0] > 3 * sizes[0][0] and sizes[1][1] == sizes[0][1]


def test_without_a_font_there_is_a_notice_and_no_picture(tmp_path):
    path = tmp_path / "picture.png"
    with pytest.warns(UserWarning, match="No picture was drawn.*fonts-noto-cjk"):
        assert analysis.attribution_picture([["\U0010fffd"]], [[1.0]], path) is None
    assert not path.exists()
    with pytest.raises(ValueError, match="`font` must have the characters '好'"):
        analysis.attribution_picture([["好"]], [[1.0]], path, font=OWN)
    with pytest.raises(ValueError, match="`captions` must be 1"):
        analysis.attribution_picture([["a"]], [[1.0]], path, captions=[], font=OWN)
