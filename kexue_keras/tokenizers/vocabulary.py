"""Vocabularies: reading their files, and the classes of characters that shape a Chinese one."""

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from kexue_keras.tokenizers.sentence_piece import FILE, open_sentence_piece

_TEXT, _JSON = "vocab.txt", "tokenizer.json"
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


def is_ideograph(character: str) -> bool:
    """Whether `character` is a CJK ideograph, which is always a token by itself."""
    code = ord(character)
    return any(first <= code <= last for first, last in _IDEOGRAPHS)


def is_punctuation(character: str) -> bool:
    """Whether `character` is punctuation (ASCII symbols such as `$` and `+` included)."""
    if character < "\x80":
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character)[0] == "P"


def is_special(token: str) -> bool:
    """Whether `token` is written in square brackets, like `[CLS]`."""
    return token[:1] == "[" and token[-1:] == "]"


def stem(token: str) -> str:
    """`token` without the `##` that marks the continuation of a word."""
    return token.removeprefix("##")


def check_vocabulary(dict_path: str | Path, config_path: str | Path) -> None:
    """Checks that a vocabulary is one of the BERT of a configuration.

    Args:
        dict_path: `vocab.txt`.
        config_path: `bert_config.json`.

    Raises:
        ValueError: they have different numbers of tokens; names both files.
    """
    tokens = 1 + max(load_vocab(dict_path).values(), default=-1)
    expected = json.loads(Path(config_path).read_text(encoding="utf-8")).get("vocab_size")
    if tokens != expected:
        raise ValueError(
            f"`dict_path` {dict_path} has {tokens} tokens, but `config_path` {config_path} says "
            f"vocab_size {expected}"
        )


def _is_redundant(token: str) -> bool:
    """Whether the tokenizer never emits `token`, since it splits off every ideograph and mark."""
    return len(token) > 1 and any(is_ideograph(c) or is_punctuation(c) for c in stem(token))


def load_vocab(
    dict_path: str | Path, simplified: bool = False, startswith: Sequence[str] | None = None
) -> dict[str, int] | tuple[dict[str, int], list[int]]:
    """Reads a vocabulary: `vocab.txt`, `tokenizer.json` or `spiece.model`.

    A `vocab.txt` has one token per line, the line number (from 0) is its id. Of Hugging Face's
    `tokenizer.json` the model must be a WordPiece; tokens that were added to it are read too. A
    `.model` is one of SentencePiece (needs the extra `sentencepiece`). In a folder the first of the
    three is read.

    Lines end at `"\\n"` only, since Google's Chinese vocabulary contains U+2028 as a token. As in
    bert4keras, white space around a token is dropped, so that one has the name `""` (and
    `##U+2028` the name `"##"`). A byte order mark, carriage returns, and empty lines at the end
    are ignored.

    Args:
        dict_path: path of the file, or of its folder.
        simplified: drop the tokens that tokenization cannot produce, and number the others anew.
            Not for SentencePiece.
        startswith: tokens that come first in the simplified vocabulary, whether producible or not,
            e.g. `["[PAD]", "[UNK]", "[CLS]", "[SEP]"]`.

    Returns:
        Token to id. If `simplified`, a pair: that dictionary and `keep_tokens`, the old id of
        every new one, for `build_transformer_model(..., keep_tokens=keep_tokens)`.

    Raises:
        ValueError: no tokens, bytes that are not UTF-8, or a token that comes twice; names file
            and line. Or another model in `tokenizer.json`, or a folder with none of the files.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "vocab.txt"
    ...     _ = path.write_text("[PAD]\\n[UNK]\\n好\\n##好\\nof\\n", encoding="utf-8")
    ...     load_vocab(path, simplified=True, startswith=["[UNK]"])
    ({'[UNK]': 0, '好': 1, 'of': 2}, [1, 2, 4])
    """
    if startswith and not simplified:
        raise ValueError(f"`startswith` needs `simplified=True`. Received: startswith={startswith}")
    path = _file_of(Path(dict_path))
    if path.suffix == ".model":
        if simplified:
            raise ValueError(f"`simplified` must be False for SentencePiece. Received: {path}")
        pieces = open_sentence_piece(path)
        return {pieces.id_to_piece(i): i for i in range(pieces.get_piece_size())}
    token_dict = _read_json(path) if path.suffix == ".json" else _read_vocab(path)
    if not simplified:
        return token_dict
    first = list(dict.fromkeys(startswith or ()))
    absent = [token for token in first if token not in token_dict]
    if absent:
        raise ValueError(f"`startswith` must name tokens of {dict_path}. Received: {absent}")
    kept = dict.fromkeys(first + [token for token in token_dict if not _is_redundant(token)])
    return {token: i for i, token in enumerate(kept)}, [token_dict[token] for token in kept]


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    names = (_TEXT, _JSON, FILE)
    found = [path / name for name in names if (path / name).is_file()]
    if not found:
        raise ValueError(f"`dict_path` {path} must have one of {', '.join(names)}. Received: none")
    return found[0]


def _read_json(path: Path) -> dict[str, int]:
    """The vocabulary of a WordPiece in Hugging Face's `tokenizer.json`, in the order of ids."""
    try:
        whole = json.loads(path.read_bytes())
        model, added = whole["model"], whole.get("added_tokens") or []
        kind = model.get("type", "WordPiece" if "max_input_chars_per_word" in model else None)
        vocabulary = dict(model["vocab"]) if kind == "WordPiece" else {}
        vocabulary |= {entry["content"]: entry["id"] for entry in added}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"`dict_path` {path} is no tokenizer of Hugging Face: {error!r}"
        ) from error
    prefix = model.get("continuing_subword_prefix", "##")
    if kind != "WordPiece" or prefix != "##":
        raise ValueError(
            f"`dict_path` {path} must have a WordPiece with '##'. Received: {kind} with {prefix!r}"
        )
    return dict(sorted(vocabulary.items(), key=lambda item: item[1]))


def _read_vocab(path: Path) -> dict[str, int]:
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    while lines and not lines[-1].strip(b"\r"):
        lines.pop()
    if not lines:
        raise ValueError(
            f"{path}:1: a vocabulary must hold at least one token. Received: an empty file"
        )
    token_dict: dict[str, int] = {}
    for i, line in enumerate(lines):
        try:
            columns = line.decode("utf-8").split()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}:{i + 1}: a vocabulary must be UTF-8. Received: {line!r}"
            ) from error
        token = columns[0] if columns else ""
        if token in token_dict:
            raise ValueError(
                f"{path}:{i + 1}: a token must come once. Received: {token!r}, already on line "
                f"{token_dict[token] + 1}"
            )
        token_dict[token] = i
    return token_dict
