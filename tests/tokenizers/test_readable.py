"""Tokens as readable text."""

import pytest

from kexue_keras.tokenizers.readable import to_text


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["[CLS]", "今", "天", "，", "key", "##s", "好", "[SEP]"], "今天，keys好"),
        (["key", "##s", "able"], "keys able"),
        (["key", "!", "able", "。", "un"], "key! able。un"),
        (["don", "'", "t", "key"], "don't key"),
        (["3", ".", "5", "+", "5", "=", "8", ".", "5"], "3.5+5=8.5"),
        (["(", "a", ")", "key"], "(a) key"),
        (["##s", "天", "key"], "s天key"),
        (["", "key"], "key"),
        (["##", "key"], "key"),
        ([], ""),
    ],
)
def test_text(tokens, text):
    assert to_text(tokens) == text
