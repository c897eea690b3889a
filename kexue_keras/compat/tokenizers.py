"""bert4keras.tokenizers: its tokenizer, with its names and defaults."""

from kexue_keras import tokenizers
from kexue_keras.compat.elsewhere import refuse
from kexue_keras.compat.snippets import truncate_sequences
from kexue_keras.files import write_text
from kexue_keras.tokenizers import load_vocab as _load_vocab

__all__ = ["SpTokenizer", "Tokenizer", "load_vocab", "save_vocab"]


def __getattr__(name):
    refuse("tokenizers", name)


def load_vocab(dict_path, encoding="utf-8", simplified=False, startswith=None):
    """See `kexue_keras.tokenizers.load_vocab`; files are read as UTF-8."""
    if encoding.lower().replace("-", "") != "utf8":
        raise ValueError(f'`encoding` must be "utf-8". Received: {encoding!r}')
    return _load_vocab(dict_path, simplified=simplified, startswith=startswith)


def save_vocab(dict_path, token_dict, encoding="utf-8"):
    """Writes a vocabulary, one token a line in the order of ids."""
    if encoding.lower().replace("-", "") != "utf8":
        raise ValueError(f'`encoding` must be "utf-8". Received: {encoding!r}')
    write_text(dict_path, "".join(t + "\n" for t in sorted(token_dict, key=token_dict.get)))


class _Names:
    """bert4keras's attributes and `encode` over those of `kexue_keras.tokenizers`."""

    def _name(self, **tokens):
        self._vocab_size = self.vocab_size
        for name, token in tokens.items():
            i = getattr(self, f"{name}_id")
            setattr(self, f"_token_{name}", token)
            if i is not None:
                setattr(self, f"_token_{name}_id", i)

    def encode(
        self, first_text, second_text=None, maxlen=None, pattern="S*E*E", truncate_from="right"
    ):
        """Ids and segments; see `kexue_keras.tokenizers.Tokenizer.encode`.

        Args:
            pattern: "S*E*E", where the second text has no `token_start`, or "S*ES*E", where it has.
            truncate_from: "right", "left", or the place of the token to be taken.
        """
        if pattern == "S*E*E" and truncate_from in ("right", "left"):
            return super().encode(first_text, second_text, maxlen, truncate_from)
        one, two = (
            self.tokenize(text) if isinstance(text, str) else text and list(text)
            for text in (first_text, second_text)
        )
        starts, ends = self._token_start is not None, self._token_end is not None
        joined = two is not None and pattern == "S*E*E"
        if maxlen is not None:
            place = {"right": -1 - ends, "left": int(starts)}.get(truncate_from, truncate_from)
            truncate_sequences(maxlen + joined, place, one, two)
        two = [] if two is None else two[int(joined and starts) :]
        return self.tokens_to_ids(one + two), [0] * len(one) + [1] * len(two)


class Tokenizer(_Names, tokenizers.Tokenizer):
    """`kexue_keras.tokenizers.Tokenizer` with bert4keras's default case and attributes.

    Its vocabulary may lack `[UNK]`, `token_start` and `token_end`; their id is then
    `_token_unk_id`, which the program sets.

    Args:
        token_dict: token to id, or a path.
        do_lower_case: lowercase and strip accents.
        word_maxlen: words of more characters are unknown.
        token_start, token_end, pre_tokenize: see `kexue_keras.tokenizers.Tokenizer`.
        token_translate: passed to no tokenizer of BERT; must be None.

    Attributes:
        _token_pad_id, _token_unk_id, _token_mask_id, _token_start_id, _token_end_id: ids, where
            the vocabulary has such tokens.
        _vocab_size: number of tokens.
    """

    def __init__(
        self,
        token_dict,
        do_lower_case=False,
        word_maxlen=200,
        token_start="[CLS]",
        token_end="[SEP]",
        pre_tokenize=None,
        token_translate=None,
    ):
        if token_translate:
            raise ValueError(f"`token_translate` must be None here. Received: {token_translate!r}")
        if isinstance(token_dict, str):
            token_dict = load_vocab(token_dict)
        given, token_dict = token_dict, dict(token_dict)
        for token in ("[UNK]", token_start, token_end):
            if token is not None and token not in token_dict:
                token_dict[token] = max(token_dict.values()) + 1
        super().__init__(
            token_dict, do_lower_case, word_maxlen, token_start, token_end, pre_tokenize
        )
        self._absent = {i for token, i in token_dict.items() if token not in given}
        self._name(pad="[PAD]", unk="[UNK]", mask="[MASK]", start=token_start, end=token_end)
        for name in ("unk", "start", "end"):
            if getattr(self, f"{name}_id") in self._absent:
                delattr(self, f"_token_{name}_id")
        self._token_dict, self._vocab_size = given, len(given)

    def encode(self, *args, **kwargs):
        ids, segments = super().encode(*args, **kwargs)
        return self._known(ids), segments

    def token_to_id(self, token):
        return self._known([super().token_to_id(token)])[0]

    def _known(self, ids):
        if not self._absent:
            return ids
        return [self._token_unk_id if i in self._absent else i for i in ids]


class SpTokenizer(_Names, tokenizers.SentencePieceTokenizer):
    """`kexue_keras.tokenizers.SentencePieceTokenizer` with bert4keras's names and attributes."""

    def __init__(
        self,
        sp_model_path,
        token_start="[CLS]",
        token_end="[SEP]",
        pre_tokenize=None,
        token_translate=None,
    ):
        super().__init__(sp_model_path, token_start, token_end, pre_tokenize, token_translate)
        pad = None if self.pad_id is None else self.id_to_token(self.pad_id)
        unk = self.id_to_token(self.unk_id)
        self._name(pad=pad, unk=unk, mask="[MASK]", start=token_start, end=token_end)
