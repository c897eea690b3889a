"""Tokens as readable text again. Pure Python.

Reference: https://github.com/bojone/bert4keras (`bert4keras.tokenizers.Tokenizer.decode`, 0.11.5)
"""

import re
from collections.abc import Iterable

from kexue_keras.tokenizers.vocabulary import is_ideograph, is_punctuation, is_special

_OPENING = (
    "·–—‘’‛-‟…‧\u3000-\u3003\u3008-\u3011\u3014-\u301f〰〾〿"
    "\ufe4f\ufe51\ufe54\uff01-\uff0d\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff64+\\-/={(<\\["
)
_SPACE_AFTER_OPENING = re.compile(f"([{_OPENING}]) ")
_CONTRACTION = re.compile("' (re|m|s|t|ve|d|ll) ")
_SPLIT_DECIMAL = re.compile(r"(\d\.) (\d)")


def to_text(tokens: Iterable[str]) -> str:
    """No special tokens, spaces between Latin words but not around ideographs.

    Example:

    >>> to_text(["[CLS]", "天", "，", "key", "##s", "able", "[SEP]"])
    '天，keys able'
    """
    text = ""
    first = True
    for token in tokens:
        if is_special(token):
            continue
        if token.startswith("##"):
            text += token[2:]
        elif len(token) == 1 and is_ideograph(token):
            text += token
        elif len(token) == 1 and is_punctuation(token):
            text += token + " "
        elif not first and text and is_ideograph(text[-1]):
            text += token
        else:
            text += " " + token
        first = False
    text = re.sub(" +", " ", text)
    text = _CONTRACTION.sub(r"'\1 ", text)
    text = _SPACE_AFTER_OPENING.sub(r"\1", text)
    return _SPLIT_DECIMAL.sub(r"\1\2", text).strip()
