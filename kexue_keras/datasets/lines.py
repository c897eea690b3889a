"""Lines, columns and JSON objects of data files, with errors that name file and line.

No deep-learning framework is imported.
"""

import gzip
import io
import json
import lzma
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_OPENERS = {".xz": lzma.open, ".gz": gzip.open}
_SURROGATES = re.compile("[\ud800-\udfff]")

PathLike = str | Path


class DataError(ValueError):
    """A data file is not what it should be; the message is `path:line: what`."""


class LeftOutWarning(UserWarning):
    """Samples of a file were left out; the message says how many and why."""


def warn_left_out(path: PathLike, numbers: Sequence[int], total: int, reason: str) -> None:
    """Says that lines of a file were left out, if any were.

    Args:
        path: of the file.
        numbers: of the lines that were left out.
        total: how many samples there are with them.
        reason: what is wrong with them.
    """
    if numbers:
        first = ", ".join(map(str, numbers[:3])) + (", ..." if len(numbers) > 3 else "")
        warnings.warn(
            f"{path}: {len(numbers):,} of {total:,} left out: {reason} (line {first})",
            LeftOutWarning,
            stacklevel=3,
        )


def read_lines(path: PathLike, keep_empty: bool = False) -> Iterator[tuple[int, str]]:
    """Numbers (from 1) and texts of the lines, without their ends."""
    path, number, found = Path(path), 0, False
    opener = _OPENERS.get(path.suffix)
    with open(path, "rb") if opener is None else io.BufferedReader(opener(path), 1 << 18) as file:
        try:
            for number, raw in enumerate(file, 1):
                line = raw.decode("utf-8").rstrip("\r\n")
                if number == 1:
                    line = line.removeprefix("\ufeff")
                found = found or bool(line)
                if line or keep_empty:
                    yield number, line
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{number}: must be UTF-8. Received: {error}") from error
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
            raise DataError(
                f"{path}:{number + 1}: the compressed file is damaged or cut off. Received: {error}"
            ) from error
    if not found:
        raise DataError(f"{path}:1: must not be empty.")


def read_columns(path: PathLike, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in read_lines(path):
        columns = line.split("\t")
        if len(columns) != len(names):
            raise DataError(
                f"{path}:{number}: must have {len(names)} columns ({', '.join(names)}) with tabs "
                f"between them. Received: {len(columns)}"
            )
        yield number, columns


def parse_json(text: str, path: PathLike, number: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = number + error.lineno - 1
        raise DataError(f"{path}:{line}: must be JSON. Received: {error.msg}") from error
    except RecursionError as error:
        raise DataError(f"{path}:{number}: must be JSON. Received: deep nesting") from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{path}:{number}: must be JSON. Received: {error}") from error


def field(row: Any, name: str, kind: type, where: str) -> Any:
    """Member `name` of the JSON object `row`."""
    if name not in as_object(row, where):
        raise DataError(f"{where}: must have the field {name!r}. Received: {sorted(row)}")
    if not isinstance(row[name], kind):
        raise DataError(
            f"{where}: {name!r} must be a {kind.__name__}. Received: {type(row[name]).__name__}"
        )
    if kind is str and not row[name].isascii() and _SURROGATES.search(row[name]):
        raise DataError(f"{where}: {name!r} must be Unicode. Received: half a character")
    return row[name]


def read_objects(path: PathLike, names: Sequence[str]) -> Iterator[tuple[int, dict, list[str]]]:
    """Line number, JSON object and its string fields `names` of each line."""
    for number, line in read_lines(path):
        row = parse_json(line, path, number)
        yield number, row, [field(row, name, str, f"{path}:{number}") for name in names]


def as_object(row: Any, where: str) -> dict:
    if not isinstance(row, dict):
        raise DataError(f"{where}: must be a JSON object. Received: {type(row).__name__}")
    return row
