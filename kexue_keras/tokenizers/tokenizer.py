"""Chinese BERT's tokenizer: the ids of bert4keras's `Tokenizer`, much faster on a batch.

Chinese text is mostly characters that are a token each, so a batch is read as one array of code
points: a table gives the id of every ideograph and punctuation mark, and only the runs between
them (Latin words, numbers) go through WordPiece, the Rust engine of Hugging Face `tokenizers`.
Nothing here imports a deep-learning framework.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import tokenizers as rust

from kexue_keras.tokenizers.vocabulary import (
    is_ideograph,
    is_punctuation,
    is_special,
    load_vocab,
    stem,
)

__all__ = ["Tokenizer", "load_vocab"]

_OPENING = (
    "·–—‘’‛-‟…‧\u3000-\u3003\u3008-\u3011\u3014-\u301f〰〾〿"
    "\ufe4f\ufe51\ufe54\uff01-\uff0d\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff64+\\-/={(<\\["
)
_SPACE_AFTER_OPENING = re.compile(f"([{_OPENING}]) ")
_CONTRACTION = re.compile("' (re|m|s|t|ve|d|ll) ")
_SPLIT_DECIMAL = re.compile(r"(\d\.) (\d)")
_SURROGATE = re.compile("[\ud800-\udfff]")

# What the table of code points holds for anything that is not a token by itself (ids are >= 0).
_UNSEEN, _IN_WORD, _SPACE, _DROPPED, _END_OF_TEXT = -1, -2, -3, -4, -5
_MAX_CACHED_WORDS = 200_000
_CHUNK = 1024  # texts whose arrays stay in the processor's cache

Text = str | Sequence[str]
Encoded = tuple[list[int], list[int]]


class Tokenizer:
    """Splits text into ideographs, punctuation and WordPieces, between `[CLS]` and `[SEP]`.

    Special tokens written in a text, like `[MASK]`, are ordinary characters, as in bert4keras; to
    have one in the sequence, put its id there, or pass a list of tokens instead of a text.

    Args:
        token_dict: token to id, or the path of a `vocab.txt`. Must have `[UNK]`, `[CLS]`, `[SEP]`.
        do_lower_case: lowercase and strip accents (Unicode category Mn after NFD).
        word_maxlen: words of more characters are unknown.

    Attributes:
        vocab_size: number of tokens.
        pad_id, unk_id, mask_id, start_id, end_id: ids of `[PAD]`, `[UNK]`, `[MASK]`, `[CLS]`,
            `[SEP]`; `None` where the vocabulary has no such token.

    Example:

    >>> tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天", "气", "，", "key", "##s"]
    >>> tokenizer = Tokenizer({token: i for i, token in enumerate(tokens)})
    >>> tokenizer.encode("天气，Keys")
    ([2, 5, 6, 7, 8, 9, 3], [0, 0, 0, 0, 0, 0, 0])
    >>> tokenizer.encode("天气", "keys", maxlen=6)
    ([2, 5, 3, 8, 9, 3], [0, 0, 0, 1, 1, 1])
    >>> tokenizer.decode([2, 5, 6, 7, 8, 9, 3])
    '天气，keys'

    Reference: https://github.com/bojone/bert4keras (`bert4keras.tokenizers.Tokenizer`, 0.11.5)
    """

    def __init__(
        self,
        token_dict: dict[str, int] | str | Path,
        do_lower_case: bool = True,
        word_maxlen: int = 200,
    ):
        if isinstance(token_dict, str | Path):
            token_dict = load_vocab(token_dict)
        if not isinstance(token_dict, dict):
            raise TypeError(
                f"`token_dict` must be a dict or a path. Received: {type(token_dict).__name__}"
            )
        absent = [token for token in ("[UNK]", "[CLS]", "[SEP]") if token not in token_dict]
        if absent:
            raise ValueError(
                f"`token_dict` must have [UNK], [CLS] and [SEP]. Received: no {', '.join(absent)}"
            )
        if word_maxlen < 1:
            raise ValueError(f"`word_maxlen` must be positive. Received: {word_maxlen}")
        self.token_dict = dict(token_dict)
        self.do_lower_case = do_lower_case
        self.word_maxlen = word_maxlen
        self.vocab_size = len(self.token_dict)
        self.pad_id = self.token_dict.get("[PAD]")
        self.unk_id = self.token_dict["[UNK]"]
        self.mask_id = self.token_dict.get("[MASK]")
        self.start_id = self.token_dict["[CLS]"]
        self.end_id = self.token_dict["[SEP]"]
        self._tokens = {i: token for token, i in self.token_dict.items()}
        # One int object for every id: rows made of these need no new objects.
        self._integers = np.arange(max(self._tokens) + 1).astype(object)
        self._table = np.full(0x110000, _UNSEEN, dtype=np.int32)
        self._table[0] = _END_OF_TEXT
        self._words: dict[str, list[int]] = {}
        self._word_piece = rust.Tokenizer(
            rust.models.WordPiece(
                {token: i for token, i in self.token_dict.items() if token},
                unk_token="[UNK]",
                max_input_chars_per_word=word_maxlen,
            )
        )

    def encode(
        self,
        first: Text,
        second: Text | None = None,
        maxlen: int | None = None,
        truncate_from: str = "right",
    ) -> Encoded:
        """Ids of `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]`.

        Args:
            first, second: a text, or a list of tokens that already has its special tokens.
            maxlen: greatest total length. Tokens are taken from the longer of the two, from the
                first if both have the same length.
            truncate_from: `"right"` takes the tokens before the last, `"left"` those after the
                first.

        Returns:
            `(token_ids, segment_ids)`, lists of int of one length; segment 0 for `first`, 1 for
            `second`.
        """
        seconds = None if second is None else [second]
        return self.encode_batch([first], seconds, maxlen, truncate_from)[0]

    def encode_batch(
        self,
        firsts: Sequence[Text],
        seconds: Sequence[Text] | None = None,
        maxlen: int | None = None,
        truncate_from: str = "right",
    ) -> list[Encoded]:
        """What `encode` gives for each pair, in one pass over all texts.

        Args:
            firsts, seconds: texts (or lists of tokens) of the same number.
            maxlen, truncate_from: as in `encode`.

        Returns:
            A list of `(token_ids, segment_ids)`.

        Raises:
            ValueError: `seconds` of another length, or a `maxlen` without room for the special
                tokens.
        """
        if isinstance(firsts, str) or isinstance(seconds, str):
            raise TypeError("`firsts` and `seconds` must be lists of texts. Received: one text")
        if seconds is not None and len(seconds) != len(firsts):
            raise ValueError(
                f"`seconds` must be as many as `firsts`. Received: {len(firsts)} and {len(seconds)}"
            )
        least = 2 if seconds is None else 3
        if maxlen is not None and maxlen < least:
            raise ValueError(f"`maxlen` must be at least {least}. Received: {maxlen}")
        if truncate_from not in ("right", "left"):
            raise ValueError(
                f"`truncate_from` must be 'right' or 'left'. Received: {truncate_from!r}"
            )
        if seconds is None:
            rows = self._sequences(firsts)
            if maxlen is not None:
                rows = [_cut(row, maxlen, truncate_from) for row in rows]
            return [(row, [0] * len(row)) for row in rows]
        rows = self._sequences([*firsts, *seconds])
        pairs = zip(rows[: len(firsts)], rows[len(firsts) :], strict=True)
        return [_join(one, two, maxlen, truncate_from) for one, two in pairs]

    def tokenize(self, text: str, maxlen: int | None = None) -> list[str]:
        """Tokens of `text` between `[CLS]` and `[SEP]`; an unknown word stays, for `rematch`.

        Args:
            text: any string.
            maxlen: greatest number of tokens, the special ones included.
        """
        if maxlen is not None and maxlen < 2:
            raise ValueError(f"`maxlen` must be at least 2. Received: {maxlen}")
        codes, values, starts, stops = self._scan([text])
        characters = _to_text(codes)
        words = self._pieces(characters, starts, stops)
        tokens = ["[CLS]"]
        units = chain(np.flatnonzero(values >= 0).tolist(), starts.tolist())
        ends = dict(zip(starts.tolist(), zip(stops.tolist(), words, strict=True), strict=True))
        for position in sorted(units):
            stop, pieces = ends.get(position, (position + 1, None))
            if pieces is None or pieces == [self.unk_id]:
                tokens.append(characters[position:stop])
            else:
                tokens.extend(self._tokens[i] for i in pieces)
        tokens.append("[SEP]")
        return tokens if maxlen is None else _cut(tokens, maxlen, "right")

    def decode(self, ids: Sequence[int], tokens: Sequence[str] | None = None) -> str:
        """Readable text: no special tokens, spaces between Latin words but not around ideographs.

        Args:
            ids: token ids.
            tokens: used instead of `ids` if given.
        """
        text = ""
        first = True
        for token in self.ids_to_tokens(ids) if tokens is None else tokens:
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

    def rematch(self, text: str, tokens: Sequence[str]) -> list[list[int]]:
        """For each token, the positions in `text` of its characters; `[]` for special tokens.

        Args:
            text: what was tokenized.
            tokens: what `tokenize(text)` gave.

        Raises:
            ValueError: a token that does not occur after the one before it.

        Example:

        >>> tokenizer = Tokenizer({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "天": 3, "key": 4})
        >>> tokenizer.rematch("天 Key", ["[CLS]", "天", "key", "[SEP]"])
        [[], [0], [2, 3, 4], []]
        """
        # "İ" alone becomes two characters in lower case, which would shift all positions after it.
        source = text.replace("İ", "i").lower() if self.do_lower_case else text
        characters, origin = "", []
        for i, character in enumerate(source):
            kept = "".join(
                c
                for c in self._normalize(character)
                if self._value(ord(c)) not in (_DROPPED, _END_OF_TEXT)
            )
            characters += kept
            origin.extend([i] * len(kept))
        spans, offset = [], 0
        for token in tokens:
            if is_special(token):
                spans.append([])
                continue
            start = characters.find(stem(token), offset)
            if start < 0:
                raise ValueError(
                    f"`tokens` must come from `text`. Received: {token!r}, not in {text[:40]!r}"
                )
            offset = start + len(stem(token))
            spans.append(origin[start:offset])
        return spans

    def token_to_id(self, token: str) -> int:
        """Id of `token`, that of `[UNK]` if it has none."""
        return self.token_dict.get(token, self.unk_id)

    def id_to_token(self, i: int) -> str:
        """Token of id `i`.

        Raises:
            ValueError: the vocabulary has no such id.
        """
        try:
            return self._tokens[i]
        except KeyError:
            raise ValueError(
                f"`i` must be an id of the vocabulary's {self.vocab_size}. Received: {i}"
            ) from None

    def tokens_to_ids(self, tokens: Sequence[str]) -> list[int]:
        """Ids of `tokens`."""
        return [self.token_to_id(token) for token in tokens]

    def ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """Tokens of `ids`."""
        return [self.id_to_token(i) for i in ids]

    def _sequences(self, texts: Sequence[Text]) -> list[list[int]]:
        """Ids of each text between `[CLS]` and `[SEP]`; of each list of tokens as it is."""
        rows: list[list[int]] = []
        for i in range(0, len(texts), _CHUNK):
            chunk = texts[i : i + _CHUNK]
            encoded = iter(self._encode_strings([text for text in chunk if isinstance(text, str)]))
            rows += (next(encoded) if isinstance(t, str) else self.tokens_to_ids(t) for t in chunk)
        return rows

    def _encode_strings(self, texts: list[str]) -> list[list[int]]:
        """All texts at once: each end of a text becomes `[SEP]` and the `[CLS]` of the next one."""
        codes, values, starts, stops = self._scan(texts)
        pieces = self._pieces(_to_text(codes) if len(starts) else "", starts, stops)
        counts = (values >= 0).view(np.int8).astype(np.int32)
        counts[values == _END_OF_TEXT] = 2
        counts[starts] = np.fromiter(map(len, pieces), np.int32, len(pieces))
        ids = np.repeat(values, counts)
        ids[ids == _IN_WORD] = list(chain.from_iterable(pieces))
        separators = np.flatnonzero(ids == _END_OF_TEXT)[::2]
        ids[separators] = self.end_id
        ids[separators + 1] = self.start_id
        row = [self.start_id, *self._integers[ids].tolist()]
        bounds = [0, *(separators + 2).tolist()]
        return [row[a:b] for a, b in pairwise(bounds)]

    def _scan(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Code points of all texts, normalized; their table values; starts and stops of words."""
        joined = "\0".join([*texts, ""])
        if joined.count("\0") != len(texts):
            joined = "\0".join([*(text.replace("\0", "\1") for text in texts), ""])
        joined = self._normalize(joined)
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        values = self._table[codes]
        if (values == _UNSEEN).any():
            for code in np.unique(codes[values == _UNSEEN]).tolist():
                self._table[code] = self._value(code)
            values = self._table[codes]
        kept = values != _DROPPED
        if not kept.all():
            codes, values = codes[kept], values[kept]
        in_word = np.concatenate([[False], values == _IN_WORD, [False]])
        edges = np.flatnonzero(in_word[1:] != in_word[:-1])
        return codes, values, edges[::2], edges[1::2]

    def _pieces(self, characters: str, starts: np.ndarray, stops: np.ndarray) -> list[list[int]]:
        """Ids of each word's pieces; words not seen before go to the Rust engine together."""
        words = [characters[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
        known = self._words
        new = [word for word in dict.fromkeys(words) if word not in known]
        if new:
            if len(known) > _MAX_CACHED_WORDS:
                known.clear()
                new = list(dict.fromkeys(words))
            valid = [_SURROGATE.sub("\U0010ffff", word) for word in new]
            encodings = self._word_piece.encode_batch_fast(valid, add_special_tokens=False)
            known.update(zip(new, (encoding.ids for encoding in encodings), strict=True))
        return [known[word] for word in words]

    def _normalize(self, text: str) -> str:
        return unicodedata.normalize("NFD", text.lower()) if self.do_lower_case else text

    def _value(self, code: int) -> int:
        character = chr(code)
        category = unicodedata.category(character)
        if code == 0:
            return _END_OF_TEXT
        if is_ideograph(character) or is_punctuation(character):
            return self.token_to_id(character)
        if character in "\n\r\t" or category in ("Zs", "Zl", "Zp"):
            return _SPACE
        if category in ("Cc", "Cf") or code == 0xFFFD or (category == "Mn" and self.do_lower_case):
            return _DROPPED
        return _IN_WORD


def _to_text(codes: np.ndarray) -> str:
    return codes.tobytes().decode("utf-32-le", "surrogatepass")


def _cut(row: list, length: int, side: str) -> list:
    excess = len(row) - length
    if excess <= 0:
        return row
    return row[: length - 1] + row[-1:] if side == "right" else row[:1] + row[1 + excess :]


def _join(one: list[int], two: list[int], maxlen: int | None, side: str) -> Encoded:
    """`two` loses its `[CLS]`, which counts while the longer of both is being shortened."""
    excess = 0 if maxlen is None else len(one) + len(two) - 1 - maxlen
    if excess > 0:
        gap = len(one) - len(two)
        shared = max(0, excess - abs(gap))
        alone = excess - shared
        one = _cut(one, len(one) - (alone if gap > 0 else 0) - (shared + 1) // 2, side)
        two = _cut(two, len(two) - (alone if gap < 0 else 0) - shared // 2, side)
    return one + two[1:], [0] * len(one) + [1] * (len(two) - 1)
