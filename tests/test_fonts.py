"""The search for a font that has all characters of a text."""

from pathlib import Path

import matplotlib
import pytest

from kexue_keras import fonts

pytestmark = pytest.mark.once

# matplotlib's own, without Chinese characters
OWN = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
NOWHERE = "\U0010fffd"  # for private use, in no font


def test_an_installed_font_has_all_characters():
    found = fonts.find_font("abc äöü\n")
    assert found.is_file() and not fonts._lacking(found, "abcäöü")


def test_without_a_font_it_is_said_what_to_install():
    with pytest.warns(UserWarning, match="fonts-noto-cjk") as caught:
        assert fonts.find_font("abc" + NOWHERE) is None
    assert repr(NOWHERE) in str(caught[0].message) and "'abc" not in str(caught[0].message)


def test_a_font_that_is_given_is_taken_or_refused(tmp_path):
    assert fonts.find_font("abc", OWN) == OWN == fonts.find_font("abc", str(OWN))
    with pytest.raises(ValueError, match="`font` must have the characters '很错'"):
        fonts.find_font("a很错", OWN)
    other = tmp_path / "font.ttf"
    with pytest.raises(ValueError, match="`font` must be the file of a font. Received: .*font.ttf"):
        fonts.find_font("abc", other)
    other.write_text("no font", encoding="utf-8")
    with pytest.raises(ValueError, match="`font` must be the file of a font"):
        fonts.find_font("abc", other)


def test_good_fonts_come_first_and_boxes_never(monkeypatch):
    from matplotlib import font_manager

    names = ["Aaa.ttf", "LastResortHE-Regular.ttf", "SimHei.ttf", "NotoSansCJK-Bold.ttc"]
    names += ["NotoSansCJK-Regular.ttc"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: names)
    order = ["NotoSansCJK-Regular.ttc", "NotoSansCJK-Bold.ttc", "SimHei.ttf", "Aaa.ttf"]
    assert fonts._installed() == order
