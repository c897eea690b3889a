"""Divides samples at random, the same way everywhere. No deep-learning framework is imported."""

from collections.abc import Callable, Hashable, Sequence
from hashlib import blake2b
from typing import Any


def split(
    samples: Sequence,
    parts: Sequence[float] | Sequence[int],
    seed: int = 0,
    key: Callable[[Any], Hashable] | None = None,
) -> tuple[list, ...]:
    """Divides samples at random, and the same way on every machine and in every run.

    Args:
        samples: a list of anything.
        parts: fractions (floats, at most 1 together) or counts (ints, at most all together); what
            is left over goes nowhere.
        seed: another one gives another division.
        key: samples of the same `str(key(sample))` stay together, and their part does not depend
            on the order of `samples`; parts may then be larger than asked for by less than one
            such group. Without it every sample is on its own.

    Returns:
        One list per part, in the order of `samples`.

    Example:

    >>> split(range(10), (6, 2)), [len(part) for part in split(range(10), (0.5, 0.5))]
    (([0, 3, 4, 6, 8, 9], [2, 5]), [5, 5])
    """
    total = len(samples)
    if not parts or any(isinstance(part, bool) or part < 0 for part in parts):
        raise ValueError(f"`parts` must be fractions or counts of at least 0. Received: {parts}")
    if all(isinstance(part, int) for part in parts):
        sizes = list(parts)
    elif all(isinstance(part, float) for part in parts) and sum(parts) < 1 + 1e-9:
        bounds = [round(sum(parts[:i]) * total) for i in range(len(parts) + 1)]
        sizes = [b - a for a, b in zip(bounds, bounds[1:], strict=False)]
    else:
        raise ValueError(f"`parts` must be ints, or floats of sum 1 at most. Received: {parts}")
    if sum(sizes) > total:
        raise ValueError(f"`parts` must add up to at most {total} samples. Received: {parts}")
    groups: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        groups.setdefault(str(i if key is None else key(sample)), []).append(i)
    order = sorted(groups, key=lambda name: blake2b(f"{seed}\0{name}".encode()).digest())
    remaining, result = iter(order), []
    for size in sizes:
        part: list[int] = []
        while len(part) < size and (name := next(remaining, None)) is not None:
            part += groups[name]
        result.append([samples[i] for i in sorted(part)])
    return tuple(result)
