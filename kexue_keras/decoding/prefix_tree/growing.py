"""An array that grows at its end."""

import numpy as np


class Growing:
    """One-dimensional array that grows at its end; `values` is a view valid until `extend`.

    Example:

    >>> column = Growing("u4")
    >>> column.extend(np.array([7, 8]))
    >>> column.extend(np.array([9]))
    >>> column.size, column.values.tolist()
    (3, [7, 8, 9])
    """

    def __init__(self, dtype: str):
        self._buffer, self.size = np.empty(1024, dtype), 0

    def extend(self, values: np.ndarray) -> None:
        """Appends values."""
        stop = self.size + len(values)
        if stop > len(self._buffer):
            self._buffer.resize(max(stop, len(self._buffer) * 3 // 2), refcheck=False)
        self._buffer[self.size : stop] = values
        self.size = stop

    @property
    def values(self) -> np.ndarray:
        """What was appended so far."""
        return self._buffer[: self.size]
