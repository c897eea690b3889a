"""Sequences shortened to a greatest length, and pairs of them joined. Pure Python."""


def cut(row: list, length: int, side: str) -> list:
    """The row without as many elements before its last (`"right"`), or after its first (`"left"`),
    as are too many.

    Example:

    >>> cut(["[CLS]", "a", "b", "[SEP]"], 3, "right"), cut(["[CLS]", "a", "b", "[SEP]"], 3, "left")
    (['[CLS]', 'a', '[SEP]'], ['[CLS]', 'b', '[SEP]'])
    """
    excess = len(row) - length
    if excess <= 0:
        return row
    return row[: length - 1] + row[-1:] if side == "right" else row[:1] + row[1 + excess :]


def join(
    one: list[int], two: list[int], maxlen: int | None, side: str
) -> tuple[list[int], list[int]]:
    """Ids of both rows and their segments; the longer row, or the first, gives way.

    `two` loses its `[CLS]`, which counts while the longer of both is being shortened.

    Example:

    >>> join([2, 7, 8, 3], [2, 9, 3], 5, "right")
    ([2, 7, 3, 9, 3], [0, 0, 0, 1, 1])
    """
    excess = 0 if maxlen is None else len(one) + len(two) - 1 - maxlen
    if excess > 0:
        gap = len(one) - len(two)
        shared = max(0, excess - abs(gap))
        alone = excess - shared
        one = cut(one, len(one) - (alone if gap > 0 else 0) - (shared + 1) // 2, side)
        two = cut(two, len(two) - (alone if gap < 0 else 0) - shared // 2, side)
    return one + two[1:], [0] * len(one) + [1] * (len(two) - 1)
