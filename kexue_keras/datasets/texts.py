"""The texts of any file. No deep-learning framework is imported."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kexue_keras.datasets.lines import DataError, parse_json, read_lines


def load_texts(path: Path, least: int) -> list[str]:
    """Different texts of a file, in its order, each of `least` characters or more.

    Args:
        path: `.json` and `.jsonl` (all strings in them), `.tsv` (all columns), else lines; each may
            be `.xz` or `.gz`.
        least: smallest number of characters.

    Raises:
        DataError: the file is not what its name says, or has no text; names file and line.
    """
    kind = [suffix for suffix in path.suffixes if suffix not in (".xz", ".gz")][-1:]
    lines = list(read_lines(path, keep_empty=True))
    if kind == [".json"]:
        found = _strings(parse_json("\n".join(line for _, line in lines), path, 1))
    elif kind == [".jsonl"]:
        rows = [parse_json(line, path, number) for number, line in lines if line]
        found = _strings(rows)
    elif kind == [".tsv"]:
        found = (column for _, line in lines for column in line.split("\t"))
    else:
        found = (line for _, line in lines)
    texts = list(dict.fromkeys(text.strip() for text in found if len(text.strip()) >= least))
    if not texts:
        raise DataError(f"{path}:1: must have a text of {least} characters or more.")
    return texts


def not_inside(texts: Sequence[str], others: Sequence[str]) -> list[str]:
    """Those texts that are no part of another of `others`.

    Example:

    >>> not_inside(["天地", "玄黄"], ["天地玄"])
    ['玄黄']
    """
    joined = "\n".join(others)
    return [text for text in texts if text not in joined]


def _strings(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for item in document.values() if isinstance(document, dict) else document:
            yield from _strings(item)
