"""Shortened rows; `test_tokenizer` compares with popping one by one."""

import pytest

from kexue_keras.tokenizers.truncation import cut, join


@pytest.mark.parametrize("side", ["right", "left"])
def test_ends_stay(side):
    row = list("abcdef")
    assert cut(row, 9, side) is row and cut(row, 6, side) is row
    assert cut(row, 2, side) == ["a", "f"]
    assert cut(row, 4, side) == (list("abcf") if side == "right" else list("adef"))


def test_pairs():
    assert join([2, 7, 3], [2, 8, 3], None, "right") == ([2, 7, 3, 8, 3], [0, 0, 0, 1, 1])
    # the longer row gives way, then the first
    assert join([2, 7, 3], [2, 8, 9, 6, 3], 6, "right")[0] == [2, 7, 3, 8, 9, 3]
    assert join([2, 7, 3], [2, 8, 9, 6, 3], 6, "left")[0] == [2, 7, 3, 9, 6, 3]
    assert join([2, 7, 3], [2, 8, 3], 4, "right") == ([2, 3, 8, 3], [0, 0, 1, 1])
