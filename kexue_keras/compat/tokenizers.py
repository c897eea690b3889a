"""bert4keras.tokenizers: its tokenizer, with its names and defaults."""

from kexue_keras import tokenizers
from kexue_keras.compat.elsewhere import refuse
from kexue_keras.compat.snippets import truncate_sequences
from kexue_keras.files import write_text
from kexue_keras.tokenizers import load_vocab as _load_vocab

__all__ = ["Tokenizer", "load_vocab", "save_vocab"]

_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "mask": "[MASK]", "start": "[CLS]", "end": "[SEP]"}


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


class Tokenizer(tokenizers.Tokenizer):
    """`kexue_keras.tokenizers.Tokenizer` with bert4keras's default case and attributes.

    Its vocabulary may lack `[UNK]`, `[CLS]` and `[SEP]`; their id is then `_token_unk_id`, which
    the program sets.

    Attributes:
        _token_pad_id, _token_unk_id, _token_mask_id, _token_start_id, _token_end_id: ids, where
            the vocabulary has such tokens.
        _vocab_size: number of tokens.
    """

    def __init__(self, token_dict, do_lower_case=False, word_maxlen=200, **kwargs):
        if isinstance(token_dict, str):
            token_dict = load_vocab(token_dict)
        given, token_dict = token_dict, dict(token_dict)
        for name in ("unk", "start", "end"):
            if _SPECIAL[name] not in token_dict:
                token_dict[_SPECIAL[name]] = max(token_dict.values()) + 1
        self._absent = {token_dict[t] for t in token_dict if t not in given}
        super().__init__(token_dict, do_lower_case, word_maxlen, **kwargs)
        self._token_dict, self._vocab_size = given, len(given)
        for name, token in _SPECIAL.items():
            setattr(self, f"_token_{name}", token)
            if token in given:
                setattr(self, f"_token_{name}_id", given[token])

    def encode(
        self, first_text, second_text=None, maxlen=None, pattern="S*E*E", truncate_from="right"
    ):
        """Ids and segments; see `kexue_keras.tokenizers.Tokenizer.encode`.

        Args:
            pattern: "S*E*E", where the second text has no `[CLS]`, or "S*ES*E", where it has.
            truncate_from: "right", "left", or the place of the token to be taken.
        """
        if pattern == "S*E*E" and truncate_from in ("right", "left"):
            ids, segments = super().encode(first_text, second_text, maxlen, truncate_from)
            return self._known(ids), segments
        one, two = (
            self.tokenize(text) if isinstance(text, str) else text and list(text)
            for text in (first_text, second_text)
        )
        joined = two is not None and pattern == "S*E*E"
        if maxlen is not None:
            place = {"right": -2, "left": 1}.get(truncate_from, truncate_from)
            truncate_sequences(maxlen + joined, place, one, two)
        two = [] if two is None else two[int(joined) :]
        return self.tokens_to_ids(one + two), [0] * len(one) + [1] * len(two)

    def token_to_id(self, token):
        return self._known([super().token_to_id(token)])[0]

    def _known(self, ids):
        if not self._absent:
            return ids
        return [self._token_unk_id if i in self._absent else i for i in ids]
