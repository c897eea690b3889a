"""What tokenizers share: sequences and pairs of them, between special tokens. Pure Python."""

from collections.abc import Callable, Iterable, Sequence

from kexue_keras.tokenizers.truncation import cut, join

_CHUNK = 1024  # texts whose arrays stay in the processor's cache

Text = str | Sequence[str]
Encoded = tuple[list[int], list[int]]
PreTokenize = Callable[[str], Iterable[str]]


class TextTokenizer:
    """Base of tokenizers, which write `tokenize`, `token_to_id`, `id_to_token` and
    `_encode_strings`.

    Args:
        token_start, token_end: what stands before and after each text; `None`: nothing.
        pre_tokenize: splits a text into words before it is tokenized, as `jieba.lcut`.
    """

    def __init__(
        self,
        token_start: str | None,
        token_end: str | None,
        pre_tokenize: PreTokenize | None,
    ):
        self.token_start = token_start
        self.token_end = token_end
        self.pre_tokenize = pre_tokenize

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
        head, tail = self._special_counts()
        self._check_maxlen(maxlen, head + tail if seconds is None else head + 2 * tail)
        if truncate_from not in ("right", "left"):
            raise ValueError(
                f"`truncate_from` must be 'right' or 'left'. Received: {truncate_from!r}"
            )
        if seconds is None:
            rows = self._sequences(firsts)
            if maxlen is not None:
                rows = [cut(row, maxlen, truncate_from, head, tail) for row in rows]
            return [(row, [0] * len(row)) for row in rows]
        rows = self._sequences([*firsts, *seconds])
        pairs = zip(rows[: len(firsts)], rows[len(firsts) :], strict=True)
        return [join(one, two, maxlen, truncate_from, head, tail) for one, two in pairs]

    def tokens_to_ids(self, tokens: Sequence[str]) -> list[int]:
        """Ids of `tokens`."""
        return [self.token_to_id(token) for token in tokens]

    def ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """Tokens of `ids`."""
        return [self.id_to_token(i) for i in ids]

    def _special_counts(self) -> tuple[int, int]:
        """How many special tokens stand before a text and after it."""
        return int(self.token_start is not None), int(self.token_end is not None)

    def _check_maxlen(self, maxlen: int | None, least: int) -> None:
        if maxlen is not None and maxlen < max(1, least):
            raise ValueError(f"`maxlen` must be at least {max(1, least)}. Received: {maxlen}")

    def _between(self, tokens: list[str], maxlen: int | None) -> list[str]:
        """Tokens of a text between the special ones, at most `maxlen` of them all."""
        head, tail = self._special_counts()
        self._check_maxlen(maxlen, head + tail)
        tokens = [*[self.token_start][:head], *tokens, *[self.token_end][:tail]]
        return tokens if maxlen is None else cut(tokens, maxlen, "right", head, tail)

    def _sequences(self, texts: Sequence[Text]) -> list[list[int]]:
        """Ids of each text between special tokens; of each list of tokens as it is."""
        rows: list[list[int]] = []
        for i in range(0, len(texts), _CHUNK):
            chunk = texts[i : i + _CHUNK]
            encoded = iter(self._encode_strings([text for text in chunk if isinstance(text, str)]))
            rows += (next(encoded) if isinstance(t, str) else self.tokens_to_ids(t) for t in chunk)
        return rows
