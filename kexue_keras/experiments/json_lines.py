"""Results as JSON lines, also written part by part. No deep-learning framework is imported."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kexue_keras.experiments.options import UsageError
from kexue_keras.files import write_text


def write_rows(path: Path, rows: Iterable[Mapping]) -> None:
    """Writes a JSON line for each row; the file appears when it is complete.

    Example:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "rows.jsonl"
    >>> write_rows(path, [{"a": 1}, {"a": "二"}])
    >>> path.read_text(encoding="utf-8")
    '{"a": 1}\\n{"a": "二"}\\n'
    """
    write_text(path, "".join(_line(row) for row in rows))


def write_rows_in_parts(
    path: Path,
    samples: Sequence,
    rows_of: Callable[[Sequence, int], Iterable[Mapping]],
    made_of: Mapping[str, Any],
    size: int = 32,
    progress: Callable[[range], Iterable[int]] = iter,
) -> None:
    """Writes a JSON line for each sample; an interrupted call goes on with the next part of them.

    What is written already waits beside `path`, ending in `.partial` in place of `.jsonl`, under a
    first line that tells what it is made of.

    Args:
        path: ends with `.jsonl`; appears when it is complete.
        samples: what to make rows of.
        rows_of: takes a part of the samples and the place of its first one; a row for each.
        made_of: what the rows depend on, of JSON types; what was begun with something else is
            refused.
        size: samples in a part.
        progress: shows how far it is.

    Raises:
        UsageError: see `made_of`.
    """
    partial = path.with_suffix(".partial")
    header = _line(made_of)
    if not partial.exists():
        write_text(partial, header)
    # bytes: a full disk may have cut the last line within a character
    lines = partial.read_bytes().split(b"\n")[:-1]
    if lines[:1] != [header[:-1].encode()]:
        raise UsageError(
            f"{partial} was begun with other options, weights or passages; delete it to begin "
            f"again. Received: {header[:-1]}"
        )
    done = (len(lines) - 1) // size * size
    with open(partial, "r+", encoding="utf-8", newline="") as file:
        file.truncate(sum(len(line) + 1 for line in lines[: 1 + done]))
        file.seek(0, os.SEEK_END)
        for start in progress(range(done, len(samples), size)):
            rows = rows_of(samples[start : start + size], start)
            file.write("".join(map(_line, rows)))
            file.flush()
    write_text(path, partial.read_text(encoding="utf-8").removeprefix(header))
    partial.unlink()


def _line(row):
    return json.dumps(row, ensure_ascii=False) + "\n"
