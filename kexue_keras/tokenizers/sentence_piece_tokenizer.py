"""Tokenizer of models with a SentencePiece vocabulary, as T5: bert4keras's `SpTokenizer`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from kexue_keras.tokenizers.sentence_piece import open_sentence_piece
from kexue_keras.tokenizers.text_tokenizer import PreTokenize, TextTokenizer

_SURROGATE = re.compile("[\ud800-\udfff]")


class SentencePieceTokenizer(TextTokenizer):
    """Splits text into the pieces of a SentencePiece model. Needs the extra `sentencepiece`.

    Args:
        path: path of a `spiece.model`, or of the folder it is in.
        token_start, token_end: what stands before and after each text; `None`: nothing. (The
            defaults are T5's; bert4keras has `[CLS]` and `[SEP]`, which T5's vocabularies lack.)
        pre_tokenize: splits a text into words, which are then joined with spaces, as CPM needs it
            with `jieba`.
        token_translate: pieces that stand for others in the sequence, and back when decoding.

    Attributes:
        vocab_size: number of pieces.
        pad_id, unk_id, mask_id, start_id, end_id: ids; `None` where there is no such piece.

    Example:

    >>> import io, tempfile
    >>> import sentencepiece
    >>> model = io.BytesIO()
    >>> sentencepiece.SentencePieceTrainer.train(
    ...     sentence_iterator=iter(["ab ba abba", "abab b a"] * 9), model_writer=model,
    ...     vocab_size=8, model_type="char", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
    ...     minloglevel=2)
    >>> path = Path(tempfile.mkdtemp()) / "spiece.model"
    >>> _ = path.write_bytes(model.getvalue())
    >>> tokenizer = SentencePieceTokenizer(path)
    >>> tokenizer.tokenize("ab"), tokenizer.decode(tokenizer.encode("ab ba")[0])
    (['▁', 'a', 'b', '</s>'], 'ab ba')

    Reference: https://github.com/bojone/bert4keras (`bert4keras.tokenizers.SpTokenizer`, 0.11.5);
    Kudo and Richardson 2018, https://arxiv.org/abs/1808.06226
    """

    def __init__(
        self,
        path: str | Path,
        token_start: str | None = None,
        token_end: str | None = "</s>",
        pre_tokenize: PreTokenize | None = None,
        token_translate: Mapping[str, str] | None = None,
    ):
        super().__init__(token_start, token_end, pre_tokenize)
        self._pieces = open_sentence_piece(path)
        self._translate = dict(token_translate or {})
        self._translate_back = {new: old for old, new in self._translate.items()}
        self.vocab_size = self._pieces.get_piece_size()
        self.unk_id = self._pieces.unk_id()
        self.pad_id = self._pieces.pad_id() if self._pieces.pad_id() >= 0 else None
        self.mask_id = self._id("[MASK]")
        self.start_id = None if token_start is None else self._id(token_start)
        self.end_id = None if token_end is None else self._id(token_end)
        for name, token, i in (
            ("token_start", token_start, self.start_id),
            ("token_end", token_end, self.end_id),
        ):
            if token is not None and i is None:
                raise ValueError(
                    f"`{name}` must be a piece of {path}, or None. Received: {token!r}"
                )

    def tokenize(self, text: str, maxlen: int | None = None) -> list[str]:
        """Pieces of `text` between the special ones.

        Args:
            text: any string.
            maxlen: greatest number of tokens, the special ones included.
        """
        pieces = self._pieces.encode(self._joined(text), out_type=str)
        return self._between([self._translate.get(piece, piece) for piece in pieces], maxlen)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; pieces that are written for control only are left out.

        Args:
            ids: token ids; those from `vocab_size` on stand for nothing.
        """
        tokens = self.ids_to_tokens(ids)
        return self._pieces.decode_pieces([self._translate_back.get(t, t) for t in tokens])

    def token_to_id(self, token: str) -> int:
        """Id of `token`, that of the unknown piece if it has none."""
        return self._pieces.piece_to_id(token)

    def id_to_token(self, i: int) -> str:
        """Piece of id `i`; "" from `vocab_size` on, as tables of embeddings may be longer."""
        if i < 0:
            raise ValueError(f"`i` must not be negative. Received: {i}")
        return self._pieces.id_to_piece(int(i)) if i < self.vocab_size else ""

    def is_special(self, i: int) -> bool:
        """Whether `i` is the id of a piece for control, of the unknown or of an unused one."""
        kinds = (self._pieces.is_control, self._pieces.is_unknown, self._pieces.is_unused)
        return any(kind(i) for kind in kinds)

    def _id(self, token: str) -> int | None:
        i = self._pieces.piece_to_id(token)
        return None if self._pieces.id_to_piece(i) != token else i

    def _joined(self, text: str) -> str:
        text = text if self.pre_tokenize is None else " ".join(self.pre_tokenize(text))
        return _SURROGATE.sub("\ufffd", text)  # which SentencePiece refuses

    def _encode_strings(self, texts: list[str]) -> list[list[int]]:
        if self._translate:
            return [self.tokens_to_ids(self.tokenize(text)) for text in texts]
        head, tail = self._special_counts()
        before, after = [self.start_id][:head], [self.end_id][:tail]
        rows = self._pieces.encode([self._joined(text) for text in texts], out_type=int)
        return [[*before, *row, *after] for row in rows]
