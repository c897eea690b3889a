"""Files that are written whole or not at all. No deep-learning framework is imported."""

import contextlib
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path to write to, beside `path`; it is given that name when all went well.

    What was there stays whole until then. After an error or an interruption the temporary file is
    gone; its name holds a random number, so that no two processes share it. It ends like `path`,
    as what tells formats by endings needs it.

    Args:
        path: the file to write; its directory is made.

    Example:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new" / "notes.txt"
    >>> with replacing(path) as temporary:
    ...     _ = temporary.write_text("whole", encoding="utf-8")
    >>> path.read_text(encoding="utf-8"), [p.name for p in path.parent.iterdir()]
    ('whole', ['notes.txt'])
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = "".join(path.suffixes[-2:])[-32:]  # as of "best.weights.h5"; a name may be long
    temporary = path.with_name(f"temporary-{secrets.token_hex(8)}{ending}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:  # on the disk before it has the name
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a whole text file or nothing.

    Args:
        path: the file; its directory is made.
        text: what it is to hold, in UTF-8.

    Example:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "notes.txt"
    >>> write_text(path, "whole")
    >>> path.read_text(encoding="utf-8")
    'whole'
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_picture(path: str | os.PathLike, figure: Any, colours: int = 128) -> None:
    """Writes a figure of matplotlib as a small PNG, or nothing.

    Args:
        path: the file; its directory is made.
        figure: `matplotlib.figure.Figure`.
        colours: how many different ones the file may have; few make it small.

    Example:

    >>> import tempfile
    >>> from matplotlib.figure import Figure
    >>> path = Path(tempfile.mkdtemp()) / "picture.png"
    >>> write_picture(path, Figure(figsize=(1, 1)))
    >>> path.stat().st_size < 1000
    True
    """
    from PIL import Image

    rendered = io.BytesIO()
    figure.savefig(rendered, format="png", facecolor=figure.get_facecolor())
    with Image.open(rendered) as image, replacing(path) as temporary:
        image.convert("RGB").quantize(colours).save(temporary, format="png", optimize=True)
