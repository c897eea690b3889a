"""Handwritten digits of 8 x 8 grey values, those that come with scikit-learn or others."""

from __future__ import annotations

import numpy as np

from kexue_keras.datasets.lines import DataError, PathLike, read_lines

SIDE = 8
"""Rows and columns of a digit."""
_LARGEST = 16  # of the values in files
_PIXELS = SIDE * SIDE


def load_digits(path: PathLike | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of digits and which digits they are.

    Args:
        path: lines of 65 numbers between commas, 64 from 0 to 16, row by row, and the digit, as in
            `optdigits.tra` of the UCI repository. Without one, the 1,797 digits of 13 writers that
            are part of scikit-learn, in its order (`pip install scikit-learn`).

    Returns:
        Float32 `(n, 64)` from 0 to 1, 1 being ink, and int32 `(n,)`.

    Raises:
        DataError: a line is not what it must be; names file and line.
    """
    if path is None:
        from sklearn import datasets

        rows = [datasets.load_digits(return_X_y=True)]
        values, labels = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    else:
        found = np.array([_numbers(path, *line) for line in read_lines(path)])
        values, labels = found[:, :-1], found[:, -1]
    return (values / _LARGEST).astype("float32"), labels.astype("int32")


def _numbers(path, number, line):
    parts = line.split(",")
    least = [int(part) if part.strip().isdecimal() else -1 for part in parts]
    if len(least) != _PIXELS + 1 or not all(0 <= x <= _LARGEST for x in least) or least[-1] > 9:
        raise DataError(
            f"{path}:{number}: a line must be 64 numbers from 0 to 16 and a digit. "
            f"Received: {line[:60]!r}"
        )
    return least
