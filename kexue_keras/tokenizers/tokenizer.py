"""Chinese BERT's tokenizer: the ids of bert4keras's `Tokenizer`, much faster on a batch.

Chinese text is mostly characters that are a token each, so a batch is read as one array of code
points: a table gives the id of every ideograph and punctuation mark, and only the runs between
them (Latin words, numbers) go through WordPiece, the Rust engine of Hugging Face `tokenizers`.
Nothing here imports a deep-learning framework.
"""

from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from kexue_keras.tokenizers.readable import to_text
from kexue_keras.tokenizers.scanner import DROPPED, END_OF_TEXT, IN_WORD, Scanner
from kexue_keras.tokenizers.truncation import cut, join
from kexue_keras.tokenizers.vocabulary import is_special, load_vocab, stem

__all__ = ["Tokenizer", "load_vocab"]

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
        self._scanner = Scanner(self.token_dict, do_lower_case, word_maxlen)

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
                rows = [cut(row, maxlen, truncate_from) for row in rows]
            return [(row, [0] * len(row)) for row in rows]
        rows = self._sequences([*firsts, *seconds])
        pairs = zip(rows[: len(firsts)], rows[len(firsts) :], strict=True)
        return [join(one, two, maxlen, truncate_from) for one, two in pairs]

    def tokenize(self, text: str, maxlen: int | None = None) -> list[str]:
        """Tokens of `text` between `[CLS]` and `[SEP]`; an unknown word stays, for `rematch`.

        Args:
            text: any string.
            maxlen: greatest number of tokens, the special ones included.
        """
        if maxlen is not None and maxlen < 2:
            raise ValueError(f"`maxlen` must be at least 2. Received: {maxlen}")
        scan = self._scanner.scan([text])
        characters, starts, stops = scan.characters, scan.starts.tolist(), scan.stops.tolist()
        words = self._scanner.pieces(scan)
        tokens = ["[CLS]"]
        units = chain(np.flatnonzero(scan.values >= 0).tolist(), starts)
        ends = dict(zip(starts, zip(stops, words, strict=True), strict=True))
        for position in sorted(units):
            stop, pieces = ends.get(position, (position + 1, None))
            if pieces is None or pieces == [self.unk_id]:
                tokens.append(characters[position:stop])
            else:
                tokens.extend(self._tokens[i] for i in pieces)
        tokens.append("[SEP]")
        return tokens if maxlen is None else cut(tokens, maxlen, "right")

    def decode(self, ids: Sequence[int], tokens: Sequence[str] | None = None) -> str:
        """Readable text: no special tokens, spaces between Latin words but not around ideographs.

        Args:
            ids: token ids.
            tokens: used instead of `ids` if given.
        """
        return to_text(self.ids_to_tokens(ids) if tokens is None else tokens)

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
                for c in self._scanner.normalize(character)
                if self._scanner.value(ord(c)) not in (DROPPED, END_OF_TEXT)
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
        scan = self._scanner.scan(texts)
        pieces = self._scanner.pieces(scan)
        counts = (scan.values >= 0).view(np.int8).astype(np.int32)
        counts[scan.values == END_OF_TEXT] = 2
        counts[scan.starts] = np.fromiter(map(len, pieces), np.int32, len(pieces))
        ids = np.repeat(scan.values, counts)
        ids[ids == IN_WORD] = list(chain.from_iterable(pieces))
        separators = np.flatnonzero(ids == END_OF_TEXT)[::2]
        ids[separators] = self.end_id
        ids[separators + 1] = self.start_id
        row = [self.start_id, *self._integers[ids].tolist()]
        bounds = [0, *(separators + 2).tolist()]
        return [row[a:b] for a, b in pairwise(bounds)]
