"""Chinese BERT's tokenizer: the ids of bert4keras's `Tokenizer`, much faster on a batch.

Chinese text is mostly characters that are a token each, so a batch is read as one array of code
points: a table gives the id of every ideograph and punctuation mark, and only the runs between
them (Latin words, numbers) go through WordPiece, the Rust engine of Hugging Face `tokenizers`.
Nothing here imports a deep-learning framework.
"""

import unicodedata
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from kexue_keras.tokenizers.readable import to_text
from kexue_keras.tokenizers.scanner import DROPPED, END_OF_TEXT, IN_WORD, Scanner
from kexue_keras.tokenizers.text_tokenizer import PreTokenize, TextTokenizer
from kexue_keras.tokenizers.vocabulary import is_special, load_vocab, stem

__all__ = ["Tokenizer", "load_vocab"]


class Tokenizer(TextTokenizer):
    """Splits text into ideographs, punctuation and WordPieces, between `[CLS]` and `[SEP]`.

    Special tokens written in a text, like `[MASK]`, are ordinary characters, as in bert4keras; to
    have one in the sequence, put its id there, or pass a list of tokens instead of a text.

    Args:
        token_dict: token to id, or a path that `load_vocab` reads: a `vocab.txt`, the
            `tokenizer.json` of a WordPiece, or their folder. Must have `[UNK]` and both tokens
            below.
        do_lower_case: lowercase and strip accents (Unicode category Mn after NFD).
        word_maxlen: words of more characters are unknown.
        token_start, token_end: what stands before and after each text; `None`: nothing.
        pre_tokenize: splits a text into words, as `jieba.lcut`. A word in the vocabulary becomes
            one token, any other one is tokenized by the usual rules. The models of WoBERT and
            RoFormer by words, and T5-PEGASUS, need
            `pre_tokenize=lambda text: jieba.cut(text, HMM=False)`.

    Attributes:
        vocab_size: number of tokens.
        pad_id, unk_id, mask_id, start_id, end_id: ids of `[PAD]`, `[UNK]`, `[MASK]`, `token_start`,
            `token_end`; `None` where there is no such token.

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
        token_start: str | None = "[CLS]",
        token_end: str | None = "[SEP]",
        pre_tokenize: PreTokenize | None = None,
    ):
        super().__init__(token_start, token_end, pre_tokenize)
        if isinstance(token_dict, str | Path):
            token_dict = load_vocab(token_dict)
        if not isinstance(token_dict, dict):
            raise TypeError(
                f"`token_dict` must be a dict or a path. Received: {type(token_dict).__name__}"
            )
        needed = [token for token in ("[UNK]", token_start, token_end) if token is not None]
        absent = [token for token in needed if token not in token_dict]
        if absent:
            raise ValueError(
                f"`token_dict` must have {', '.join(needed[:-1])} and {needed[-1]}. "
                f"Received: no {', '.join(absent)}"
                if needed[1:]
                else "`token_dict` must have [UNK]. Received: none"
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
        self.start_id = self.token_dict.get(token_start)
        self.end_id = self.token_dict.get(token_end)
        # where a text has no such token, these stand there until they are cut off
        self._start = self.unk_id if self.start_id is None else self.start_id
        self._end = self.unk_id if self.end_id is None else self.end_id
        self._tokens = {i: token for token, i in self.token_dict.items()}
        # One int object for every id: rows made of these need no new objects.
        self._integers = np.arange(max(self._tokens) + 1).astype(object)
        self._scanner = Scanner(self.token_dict, do_lower_case, word_maxlen)

    def tokenize(self, text: str, maxlen: int | None = None) -> list[str]:
        """Tokens of `text` between the special ones; an unknown word stays, for `rematch`.

        Args:
            text: any string.
            maxlen: greatest number of tokens, the special ones included.
        """
        tokens: list[str] = []
        for word in self._words(text):
            if self.pre_tokenize is not None and word in self.token_dict:
                tokens.append(word)
            else:
                tokens += self._pieces(word)
        return self._between(tokens, maxlen)

    def _words(self, text: str) -> list[str]:
        """The words of `pre_tokenize`, which sees the text as it is tokenized; or the text."""
        if self.pre_tokenize is None:
            return [text]
        text = self._scanner.normalize(text)
        if self.do_lower_case:
            text = "".join(c for c in text if unicodedata.category(c) != "Mn")
        return list(self.pre_tokenize(text))

    def _pieces(self, text: str) -> list[str]:
        scan = self._scanner.scan([text])
        characters, starts, stops = scan.characters, scan.starts.tolist(), scan.stops.tolist()
        words = self._scanner.pieces(scan)
        tokens = []
        units = chain(np.flatnonzero(scan.values >= 0).tolist(), starts)
        ends = dict(zip(starts, zip(stops, words, strict=True), strict=True))
        for position in sorted(units):
            stop, pieces = ends.get(position, (position + 1, None))
            if pieces is None or pieces == [self.unk_id]:
                tokens.append(characters[position:stop])
            else:
                tokens.extend(self._tokens[i] for i in pieces)
        return tokens

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

    def _encode_strings(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text between the special tokens."""
        if self.pre_tokenize is None:
            rows = self._scan_all(texts)
        else:
            rows = self._encode_words([self._words(text) for text in texts])
        head, tail = self._special_counts()
        if head and tail:
            return rows
        return [row[1 - head : len(row) - 1 + tail] for row in rows]

    def _encode_words(self, texts: list[list[str]]) -> list[list[int]]:
        """Words in the vocabulary are a token each; all others are scanned together."""
        unknown = [word for words in texts for word in words if word not in self.token_dict]
        unknown = list(dict.fromkeys(unknown))
        rows = self._scan_all(unknown)
        pieces = {word: row[1:-1] for word, row in zip(unknown, rows, strict=True)}
        rows = []
        for words in texts:
            parts = (pieces[word] if word in pieces else [self.token_dict[word]] for word in words)
            rows.append([self._start, *chain.from_iterable(parts), self._end])
        return rows

    def _scan_all(self, texts: list[str]) -> list[list[int]]:
        """All texts at once: each end of a text becomes `[SEP]` and the `[CLS]` of the next one."""
        scan = self._scanner.scan(texts)
        pieces = self._scanner.pieces(scan)
        counts = (scan.values >= 0).view(np.int8).astype(np.int32)
        counts[scan.values == END_OF_TEXT] = 2
        counts[scan.starts] = np.fromiter(map(len, pieces), np.int32, len(pieces))
        ids = np.repeat(scan.values, counts)
        ids[ids == IN_WORD] = list(chain.from_iterable(pieces))
        separators = np.flatnonzero(ids == END_OF_TEXT)[::2]
        ids[separators] = self._end
        ids[separators + 1] = self._start
        row = [self._start, *self._integers[ids].tolist()]
        bounds = [0, *(separators + 2).tolist()]
        return [row[a:b] for a, b in pairwise(bounds)]
