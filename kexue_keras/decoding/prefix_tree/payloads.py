"""The strings of a `PrefixTree`'s keys, compressed in blocks.

The keys are numbered in sorted order; `BLOCK` consecutive ones share a block, compressed with zlib.
Inside it every string ends with one byte and every key with another, both foreign to UTF-8.
"""

import zlib
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import BinaryIO

import numpy as np

BLOCK = 256
STRING_END = b"\xff"
KEY_END = b"\xfe"
_LEVEL = 1


def encode_payload(payload: str | Iterable[str] | None) -> bytes:
    """The strings of a key, each with its end; repeated ones once.

    Example:

    >>> encode_payload(["b", "a", "b"])
    b'b\\xffa\\xff'
    """
    if payload is None:
        return b""
    if isinstance(payload, str):
        return payload.encode() + STRING_END
    items = dict.fromkeys(payload)
    if not all(isinstance(item, str) for item in items):
        raise TypeError(f"A payload must be a string, strings or None. Received: {payload!r}")
    return b"".join(item.encode() + STRING_END for item in items)


def merge_payloads(encoded: Iterable[bytes]) -> bytes:
    """The payloads of equal keys as one, in the order given."""
    items = dict.fromkeys(chain.from_iterable(text.split(STRING_END)[:-1] for text in encoded))
    return b"".join(item + STRING_END for item in items)


class PayloadWriter:
    """Writes the payloads of all keys to a file, in order.

    Args:
        file: binary file, open for writing.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._pending: list[bytes] = []
        self._starts = [0]
        self._any = False

    def add(self, encoded: Sequence[bytes]) -> None:
        """Takes the `encode_payload` of the next keys."""
        self._any = self._any or any(encoded)
        self._pending += encoded
        whole = len(self._pending) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            self._write(self._pending[start : start + BLOCK])
        del self._pending[:whole]

    def finish(self) -> np.ndarray:
        """Where each block begins and the last one ends, uint64; empty if no key has strings."""
        if self._pending:
            self._write(self._pending)
        if not self._any:
            self._file.seek(0)
            self._file.truncate()
            return np.zeros(0, "<u8")
        return np.array(self._starts, "<u8")

    def _write(self, encoded: list[bytes]) -> None:
        block = zlib.compress(b"".join(text + KEY_END for text in encoded), _LEVEL)
        self._file.write(block)
        self._starts.append(self._starts[-1] + len(block))


class Payloads:
    """Reads what a `PayloadWriter` wrote.

    Args:
        starts: the result of `PayloadWriter.finish`.
        content: the bytes of its file, uint8 `(n,)`.

    Example:

    >>> import io
    >>> file = io.BytesIO()
    >>> writer = PayloadWriter(file)
    >>> writer.add([b"", encode_payload("x"), encode_payload(["y", "z"])])
    >>> payloads = Payloads(writer.finish(), np.frombuffer(file.getvalue(), "uint8"))
    >>> [payloads[rank] for rank in range(3)]
    [(), ('x',), ('y', 'z')]
    """

    def __init__(self, starts: np.ndarray, content: np.ndarray):
        self._starts, self._content = starts, content
        self._last: tuple[int, list[bytes]] = (-1, [])

    def __getitem__(self, rank: int) -> tuple[str, ...]:
        if not len(self._starts):
            return ()
        number, place = divmod(rank, BLOCK)
        read, block = self._last
        if read != number:
            start, stop = int(self._starts[number]), int(self._starts[number + 1])
            block = zlib.decompress(self._content[start:stop].tobytes()).split(KEY_END)
            self._last = number, block
        return tuple(item.decode() for item in block[place].split(STRING_END)[:-1])
