"""Sequences shortened to a greatest length, and pairs of them joined. Pure Python."""


def cut(row: list, length: int, side: str, head: int = 1, tail: int = 1) -> list:
    """The row without as many elements before its last (`"right"`), or after its first (`"left"`),
    as are too many.

    Args:
        row: the sequence.
        length: greatest length.
        side: where elements are taken from.
        head, tail: how many elements at the start and at the end are special and stay, 0 or 1.

    Example:

    >>> cut(["[CLS]", "a", "b", "[SEP]"], 3, "right"), cut(["[CLS]", "a", "b", "[SEP]"], 3, "left")
    (['[CLS]', 'a', '[SEP]'], ['[CLS]', 'b', '[SEP]'])
    >>> cut(["a", "b"], 1, "left", head=0, tail=0)
    ['b']
    """
    excess = len(row) - length
    if excess <= 0:
        return row
    if side == "right":
        return row[: length - tail] + row[len(row) - tail :]
    return row[:head] + row[head + excess :]


def join(
    one: list[int], two: list[int], maxlen: int | None, side: str, head: int = 1, tail: int = 1
) -> tuple[list[int], list[int]]:
    """Ids of both rows and their segments; the longer row, or the first, gives way.

    `two` loses its `[CLS]`, which counts while the longer of both is being shortened.

    Args:
        one, two: the rows.
        maxlen: greatest length of both.
        side, head, tail: as in `cut`.

    Example:

    >>> join([2, 7, 8, 3], [2, 9, 3], 5, "right")
    ([2, 7, 3, 9, 3], [0, 0, 0, 1, 1])
    """
    excess = 0 if maxlen is None else len(one) + len(two) - head - maxlen
    if excess > 0:
        gap = len(one) - len(two)
        shared = max(0, excess - abs(gap))
        alone = excess - shared
        ones, twos = (alone if gap > 0 else 0), (alone if gap < 0 else 0)
        one = cut(one, len(one) - ones - (shared + 1) // 2, side, head, tail)
        two = cut(two, len(two) - twos - shared // 2, side, head, tail)
    return one + two[head:], [0] * len(one) + [1] * (len(two) - head)
