"""Segments keep the text, their limit, and the stronger pauses."""

import random

import pytest

from kexue_keras.tokenizers.segments import SEPARATORS, segment

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "text, maxlen, pieces",
    [
        ("", 5, []),
        ("一二三", 3, ["一二三"]),
        ("一二。三四。五六。", 6, ["一二。三四。", "五六。"]),
        ("一二，三四。五六。", 4, ["一二，", "三四。", "五六。"]),
        ("一二\n三四。五六", 5, ["一二\n", "三四。五六"]),
        ("一二三四五", 2, ["一二", "三四", "五"]),
        ("。。。", 1, ["。", "。", "。"]),
    ],
)
def test_known_texts(text, maxlen, pieces):
    assert segment(text, maxlen) == pieces


def test_random_texts_come_back_whole_and_short():
    rng = random.Random(0)
    alphabet = "一二三四五六七八" + "".join(SEPARATORS)
    for _ in range(2000):
        text = "".join(rng.choices(alphabet, k=rng.randrange(60)))
        maxlen = rng.randrange(1, 20)
        pieces = segment(text, maxlen)
        assert "".join(pieces) == text
        assert all(0 < len(piece) <= maxlen for piece in pieces)
        assert len(pieces) == (len(text) > 0) or len(text) > maxlen


def test_another_measure_of_length():
    pieces = segment("aaaa。bbbb。", 6, length=lambda text: 2 * len(text))
    assert pieces == ["aaa", "a。", "bbb", "b。"]


def test_a_long_text_without_any_pause():
    pieces = segment("一" * 10_000, 3)
    assert len(pieces) == 3334 and pieces[-1] == "一"


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="`maxlen` must be at least 1"):
        segment("a", 0)
