"""Training samples and held-out ones that share nothing. No deep-learning framework is imported."""

import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kexue_keras import datasets
from kexue_keras.experiments.options import UsageError

Key = str | Callable[[Any], Hashable]


def load_samples(
    config: Any,
    load: Callable[[Path], Sequence],
    same: Sequence[Key],
    together: Key | None = None,
    first: bool = False,
) -> tuple[list, dict[str, list]]:
    """The samples of `train`, and those of `valid` and `hold_out` by the names of their files.

    Args:
        config: `options.Files`, perhaps with `hold_out`, and with `limit`, the number of training
            samples to draw at the end, always the same ones; 0: all.
        load: reads the samples of a file.
        same: what two samples must not have in common for one to be held out, the other not:
            functions of a sample, or names of a dict's items.
        together: what samples have in common that `hold_out` must not part; `same[0]` without it.
        first: `hold_out` takes the first part of `datasets.split`, not the last one.

    Returns:
        Training samples, and held-out ones: of each file under its name without endings, then those
        of `hold_out` under "held_out".

    Raises:
        UsageError: nothing is held out, there are no samples, or two held-out sets of one name.

    Example:

    >>> from kexue_keras.experiments.options import HeldOut
    >>> config = HeldOut(train=(Path("a.tsv"),), hold_out=0.25)
    >>> load_samples(config, lambda path: ["x", "y", "x", "z"], [lambda sample: sample])
    (['x', 'y', 'x'], {'held_out': ['z']})
    """
    same = [operator.itemgetter(key) if isinstance(key, str) else key for key in same]
    share = getattr(config, "hold_out", 0.0)
    if not 0 <= share < 1:
        raise UsageError(f"`hold_out` must be from 0 to below 1. Received: {share}")
    valid = load_valid(config.valid, load, share)
    train = [load(path) for path in config.train]
    if share and train:
        key = same[0] if together is None else together
        parts = (share, 1 - share) if first else (1 - share, share)
        found = datasets.split(train[-1], parts, key=key)
        valid["held_out"], train[-1] = found if first else found[::-1]
    train = [sample for samples in train for sample in samples]
    for key in same:
        held_out = {key(sample) for samples in valid.values() for sample in samples}
        train = [sample for sample in train if key(sample) not in held_out]
    for name, samples in {"train": train, **valid}.items():
        if not samples:
            raise UsageError(
                f"`train` and `valid` must have usable samples that differ. Received: {name} "
                "without any"
            )
    if limit := getattr(config, "limit", 0):
        (train,) = datasets.split(train, (min(limit, len(train)),))
    return train, valid


def sizes_of(train: Sequence, valid: Mapping[str, Sequence]) -> str:
    """How many samples there are, in a line.

    Example:

    >>> sizes_of("abc", {"held_out": "d"})
    "3 training samples; held out: {'held_out': 1}"
    """
    sizes = {name: len(samples) for name, samples in valid.items()}
    return f"{len(train)} training samples; held out: {sizes}"


def load_valid(
    paths: Sequence[Path], load: Callable[[Path], Sequence], hold_out: float = 0
) -> dict[str, Sequence]:
    """Samples of files by the files' names, which must be different, and not that of `hold_out`."""
    if not paths and not hold_out:
        raise UsageError("`valid` or `hold_out` must hold samples out. Received: neither")
    valid: dict[str, Sequence] = {}
    for path in paths:
        name = path.name.split(".")[0]
        if hold_out and name == "held_out":
            raise UsageError(
                "`valid` must not have the name of what `hold_out` holds out of the training "
                f"files. Received: {path}"
            )
        if name in valid:
            raise UsageError(f"`valid` must be files of different names. Received: {name} twice")
        valid[name] = load(path)
    return valid
