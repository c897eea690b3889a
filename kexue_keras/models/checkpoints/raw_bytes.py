"""Bytes of files in arrays that a backend can take as they are."""

import numpy as np

_ALIGNMENT = 64


def read_bytes(path, offset, size):
    """Bytes of a file, an array of uint8, which begins where a cache line does.

    JAX uses an array that is aligned so in place of a copy.

    Args:
        path: path of the file.
        offset: place of the first byte.
        size: their number; fewer come where the file ends before.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "numbers")
    >>> np.arange(6, dtype="uint8").tofile(path)
    >>> read_bytes(path, 2, 3).tolist()
    [2, 3, 4]
    """
    room = np.empty(size + _ALIGNMENT, np.uint8)
    first = -room.ctypes.data % _ALIGNMENT
    array = room[first : first + size]
    with open(path, "rb") as file:
        file.seek(offset)
        count = file.readinto(array)
    return array[:count]
