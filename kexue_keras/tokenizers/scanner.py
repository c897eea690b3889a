"""Texts as one array of code points, cut into characters that are tokens, and words.

A table gives the id of every ideograph and punctuation mark; what stands between them (Latin words,
numbers) goes through WordPiece, the Rust engine of Hugging Face `tokenizers`. No deep-learning
framework is imported.
"""

import re
import unicodedata
from typing import NamedTuple

import numpy as np
import tokenizers as rust

from kexue_keras.tokenizers.vocabulary import is_ideograph, is_punctuation

# What the table of code points holds for anything that is not a token by itself (ids are >= 0).
IN_WORD, DROPPED, END_OF_TEXT = -2, -4, -5
_UNSEEN, _SPACE = -1, -3

_MAX_CACHED_WORDS = 200_000
_SURROGATE = re.compile("[\ud800-\udfff]")


class Scan(NamedTuple):
    """Texts one after another, each with an end.

    Attributes:
        codes: code points without those that are dropped, uint32 `(n,)`.
        values: id of each that is a token by itself; else `IN_WORD`, `END_OF_TEXT` or space.
        starts, stops: places of the words.
    """

    codes: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    stops: np.ndarray

    @property
    def characters(self) -> str:
        """The code points as one string."""
        return self.codes.tobytes().decode("utf-32-le", "surrogatepass")


class Scanner:
    """Reads texts as BERT's basic tokenizer does, and words as WordPiece does.

    Args:
        token_dict: token to id, with `[UNK]`.
        do_lower_case: lowercase and strip accents (Unicode category Mn after NFD).
        word_maxlen: words of more characters are unknown.

    Attributes:
        known: ids of the pieces of the words seen so far.

    Example:

    >>> scanner = Scanner({"[UNK]": 0, "天": 1, "key": 2, "##s": 3}, True, 200)
    >>> scan = scanner.scan(["天 Keys"])
    >>> scan.characters, scan.values[0].item(), scanner.pieces(scan)
    ('天 keys\\x00', 1, [[2, 3]])
    """

    def __init__(self, token_dict: dict[str, int], do_lower_case: bool, word_maxlen: int):
        self.known: dict[str, list[int]] = {}
        self._token_dict = token_dict
        self._do_lower_case = do_lower_case
        self._table = np.full(0x110000, _UNSEEN, dtype=np.int32)
        self._table[0] = END_OF_TEXT
        self._word_piece = rust.Tokenizer(
            rust.models.WordPiece(
                {token: i for token, i in token_dict.items() if token},
                unk_token="[UNK]",
                max_input_chars_per_word=word_maxlen,
            )
        )

    def scan(self, texts: list[str]) -> Scan:
        """All texts, normalized, in one pass."""
        joined = "\0".join([*texts, ""])
        if joined.count("\0") != len(texts):
            joined = "\0".join([*(text.replace("\0", "\1") for text in texts), ""])
        joined = self.normalize(joined)
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        values = self._table[codes]
        if (values == _UNSEEN).any():
            for code in np.unique(codes[values == _UNSEEN]).tolist():
                self._table[code] = self.value(code)
            values = self._table[codes]
        kept = values != DROPPED
        if not kept.all():
            codes, values = codes[kept], values[kept]
        in_word = np.concatenate([[False], values == IN_WORD, [False]])
        edges = np.flatnonzero(in_word[1:] != in_word[:-1])
        return Scan(codes, values, edges[::2], edges[1::2])

    def pieces(self, scan: Scan) -> list[list[int]]:
        """Ids of each word's pieces; words not seen before go to the Rust engine together."""
        if not len(scan.starts):
            return []
        characters = scan.characters
        places = zip(scan.starts.tolist(), scan.stops.tolist(), strict=True)
        words = [characters[a:b] for a, b in places]
        known = self.known
        new = [word for word in dict.fromkeys(words) if word not in known]
        if new:
            if len(known) > _MAX_CACHED_WORDS:
                known.clear()
                new = list(dict.fromkeys(words))
            valid = [_SURROGATE.sub("\U0010ffff", word) for word in new]
            encodings = self._word_piece.encode_batch_fast(valid, add_special_tokens=False)
            known.update(zip(new, (encoding.ids for encoding in encodings), strict=True))
        return [known[word] for word in words]

    def normalize(self, text: str) -> str:
        """The text in lower case with accents apart, unless case counts."""
        return unicodedata.normalize("NFD", text.lower()) if self._do_lower_case else text

    def value(self, code: int) -> int:
        """What the table holds for a code point: an id, or one of the negative numbers above."""
        character = chr(code)
        category = unicodedata.category(character)
        if code == 0:
            return END_OF_TEXT
        if is_ideograph(character) or is_punctuation(character):
            return self._token_dict.get(character, self._token_dict["[UNK]"])
        if character in "\n\r\t" or category in ("Zs", "Zl", "Zp"):
            return _SPACE
        if category in ("Cc", "Cf") or code == 0xFFFD or (category == "Mn" and self._do_lower_case):
            return DROPPED
        return IN_WORD
