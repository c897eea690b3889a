"""bert4keras's `open`: a text file whose lines can be read by number."""

import builtins
import json
import os

from kexue_keras.files import write_text


class open:
    """Python's `open`, whose file also gives line number i as `file[i]` if `indexable`.

    Args:
        name, mode, encoding, errors: as of Python's `open`.
        indexable: whether lines have numbers; or the path of a file for where they begin, which is
            written if there is none.

    Example:

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
    ...     print("one", "two", sep="\\n", file=file, flush=True)
    ...     lines = open(file.name, encoding="utf-8", indexable=True)
    ...     len(lines), lines[1]
    ...     lines.close()
    (2, 'two\\n')
    """

    def __init__(self, name, mode="r", encoding=None, errors="strict", indexable=False):
        self.name, self.encoding, self.errors = name, encoding, errors
        errors = None if "b" in mode else errors
        self.file = builtins.open(name, mode, encoding=encoding, errors=errors)
        if indexable:
            self.offsets = self._offsets(indexable)

    def _offsets(self, path):
        if isinstance(path, str) and os.path.exists(path):
            with builtins.open(path, encoding="utf-8") as file:
                return json.load(file)
        offsets, offset = [], 0
        while self.file.readline():
            offsets.append(offset)
            offset = self.file.tell()
        self.file.seek(0)
        if isinstance(path, str):
            write_text(path, json.dumps(offsets))
        return offsets

    def __getitem__(self, key):
        self.file.seek(self.offsets[key])
        return self.file.readline()

    def __len__(self):
        if not hasattr(self, "offsets"):
            raise TypeError(f"{self.name} was not opened with `indexable`, and has no length")
        return len(self.offsets)

    def __iter__(self):
        while line := self.file.readline():
            yield line

    def __next__(self):
        line = self.file.readline()
        if not line:
            raise StopIteration
        return line

    next = __next__

    def __bool__(self):
        return True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __getattr__(self, name):
        if name == "file":  # not there yet
            raise AttributeError(name)
        return getattr(self.file, name)
