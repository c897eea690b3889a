"""Builds the arrays of `PrefixTree` from a stream: external sort, then the minimal automaton.

The stream is cut into runs; each run is sorted and kept on disk (in memory if it is the only one).
Sampled splitters cut the key space into partitions, and each partition, merged from all runs, goes
to the `Minimiser`. Sorting and merging need working memory for one run or one partition at a time.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kexue_keras.decoding.prefix_tree.automaton import Minimiser
from kexue_keras.decoding.prefix_tree.payloads import (
    PayloadWriter,
    encode_payload,
    merge_payloads,
)
from kexue_keras.decoding.prefix_tree.register import Register

_LIMIT = 0xFFFF
_BATCH = 1 << 13
_BYTES_PER_KEY = 700
_FEWEST_KEYS = 16
_SAMPLES_PER_RUN = 1000


@dataclass
class _Run:
    """Sorted keys with payloads: flat arrays and where each key begins in them."""

    tokens: np.ndarray
    token_start: np.ndarray
    payloads: np.ndarray
    payload_start: np.ndarray

    def __len__(self) -> int:
        return len(self.token_start) - 1

    def key(self, row: int) -> list[int]:
        return self.tokens[self.token_start[row] : self.token_start[row + 1]].tolist()

    def part(self, start: int, stop: int) -> "_Run":
        tokens, payloads = self.token_start[start : stop + 1], self.payload_start[start : stop + 1]
        return _Run(
            np.array(self.tokens[tokens[0] : tokens[-1]]),
            tokens - tokens[0],
            np.array(self.payloads[payloads[0] : payloads[-1]]),
            payloads - payloads[0],
        )

    def spool(self, folder: Path, number: int) -> "_SpooledRun":
        """Move the arrays to disk."""
        spooled = _SpooledRun(folder / f"run{number}", len(self))
        for path, array in zip(spooled.paths(), vars(self).values(), strict=True):
            np.save(path, array)
        return spooled

    def open(self) -> "_Run":
        return self


@dataclass
class _SpooledRun:
    """A run on disk. Its maps are opened anew for each partition, so that read pages are freed."""

    stem: Path
    size: int

    def __len__(self) -> int:
        return self.size

    def paths(self) -> list[Path]:
        return [self.stem.with_suffix(f".{name}.npy") for name in _Run.__dataclass_fields__]

    def open(self) -> _Run:
        return _Run(*(np.load(path, mmap_mode="r") for path in self.paths()))


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.append(0, np.cumsum(lengths, dtype=np.int64))


def _pairs(stream: Iterable, payloads: Iterable | None) -> Iterator[tuple]:
    if payloads is not None:
        yield from zip(stream, payloads, strict=True)
        return
    for item in stream:
        paired = isinstance(item, tuple) and len(item) == 2
        if paired and (item[1] is None or isinstance(item[1], (str, list, tuple))):
            yield item
        else:
            yield item, None


def _flatten(sequences: list) -> tuple[np.ndarray, np.ndarray]:
    """Token ids (uint16, flat) and lengths (int64) of Python sequences or integer arrays."""
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    if lengths.max() > _LIMIT:
        raise ValueError(f"`sequences` may have {_LIMIT} tokens at most. Received: {lengths.max()}")
    if all(isinstance(sequence, np.ndarray) for sequence in sequences):
        flat = np.concatenate(sequences)
        if lengths.any() and flat.dtype.kind not in "iu":
            raise TypeError(f"`sequences` must hold integers. Received: {flat.dtype}")
    else:
        flat = np.fromiter(chain.from_iterable(sequences), np.int64, int(lengths.sum()))
    if len(flat) and not 0 <= flat.min() <= flat.max() <= _LIMIT:
        bad = flat.min() if flat.min() < 0 else flat.max()
        raise ValueError(f"`sequences` must hold ids in [0, {_LIMIT}]. Received: {bad}")
    return flat.astype(np.uint16), lengths


def _sort(flat: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stable sort of ragged rows: zero-padded rows in order (n, width), and the order.

    Rows are compared as big-endian bytes; the length behind the padding tells [5] from [5, 0].
    """
    width = int(lengths.max())
    rows = np.zeros((len(lengths), width + 1), ">u2")
    rows[:, :width][np.arange(width) < lengths[:, None]] = flat
    rows[:, width] = lengths
    order = np.argsort(rows.view(f"S{rows.itemsize * (width + 1)}").ravel(), kind="stable")
    return rows[:, :width].astype(np.uint16)[order], order


def _sorted_run(flat: np.ndarray, lengths: np.ndarray, texts: list[bytes]) -> _Run:
    rows, order = _sort(flat, lengths)
    lengths = lengths[order]
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))[order]
    joined = b"".join([texts[i] for i in order.tolist()])
    tokens = rows[np.arange(rows.shape[1]) < lengths[:, None]]
    return _Run(tokens, _starts(lengths), np.frombuffer(joined, np.uint8), _starts(sizes))


def _read_runs(pairs: Iterator, folder: Path, memory: int, bar: tqdm) -> list[_Run | _SpooledRun]:
    """Cut the stream into sorted runs; only a single run stays in memory."""
    runs: list[_Run | _SpooledRun] = []
    pending: _Run | None = None

    def keep(batches: list[tuple[np.ndarray, np.ndarray]], texts: list[bytes]) -> None:
        nonlocal pending
        if pending is not None:
            runs.append(pending.spool(folder, len(runs)))
        flat, lengths = (np.concatenate(column) for column in zip(*batches, strict=True))
        pending = _sorted_run(flat, lengths, texts)

    batches, texts, width = [], [], 0
    while chunk := list(islice(pairs, min(_BATCH, _keys_in(memory, 0)))):
        flat, lengths = _flatten([sequence for sequence, _ in chunk])
        width = max(width, int(lengths.max()))
        if batches and len(texts) + len(chunk) > _keys_in(memory, width):
            keep(batches, texts)
            batches, texts, width = [], [], int(lengths.max())
        batches.append((flat, lengths))
        texts += [encode_payload(payload) for _, payload in chunk]
        bar.update(len(chunk))
    if batches:
        keep(batches, texts)
    if pending is not None:
        runs.append(pending.spool(folder, len(runs)) if runs else pending)
    return runs


def _keys_in(memory: int, width: int) -> int:
    """How many keys of up to `width` tokens may be sorted or merged at a time."""
    return max(_FEWEST_KEYS, memory // max(_BYTES_PER_KEY, 16 * (width + 1)))


def _partitions(runs: list[_Run | _SpooledRun], memory: int) -> Iterator[list[_Run]]:
    """Parts of all runs that hold the same range of keys, ranges in order."""
    width, samples = 0, []
    for run in (source.open() for source in runs):
        width = max(width, int(np.diff(run.token_start).max()))
        step = max(1, len(run) // _SAMPLES_PER_RUN)
        samples += [run.key(row) for row in range(0, len(run), step)]
    samples.sort()
    count = -(-sum(map(len, runs)) // _keys_in(memory, width))
    splitters = [samples[len(samples) * i // count] for i in range(1, count)]
    begin = [0] * len(runs)
    for splitter in [*splitters, None]:
        parts, end = [], []
        for source, start in zip(runs, begin, strict=True):
            run, stop = source.open(), len(source)
            if splitter is not None:
                stop = bisect_left(range(stop), splitter, lo=start, key=run.key)
            if start < stop:
                parts.append(run.part(start, stop))
            end.append(stop)
        begin = end
        if parts:
            yield parts


def _merge(parts: list[_Run]) -> tuple[np.ndarray, np.ndarray, list[bytes]]:
    """Distinct sorted keys of a partition (rows, lengths), with the payloads of each."""
    lengths = np.concatenate([np.diff(part.token_start) for part in parts])
    rows, order = _sort(np.concatenate([part.tokens for part in parts]), lengths)
    lengths = lengths[order]
    first = np.ones(len(rows), bool)
    first[1:] = (lengths[1:] != lengths[:-1]) | (rows[1:] != rows[:-1]).any(1)
    texts = [b""] * int(first.sum())
    if any(len(part.payloads) for part in parts):
        encoded = []
        for part in parts:
            content, starts = part.payloads.tobytes(), part.payload_start.tolist()
            encoded += [content[a:b] for a, b in zip(starts, starts[1:], strict=False)]
        encoded = [encoded[i] for i in order.tolist()]
        heads = np.flatnonzero(first)
        sizes = np.diff(heads, append=len(rows))
        texts = [encoded[head] for head in heads.tolist()]
        for group in np.flatnonzero(sizes > 1).tolist():
            head = heads[group]
            texts[group] = merge_payloads(encoded[head : head + sizes[group]])
    return rows[first], lengths[first], texts


def build_arrays(
    stream: Iterable,
    payloads: Iterable | None,
    folder: str | Path,
    in_memory: bool,
    memory: int = 1 << 30,
    progress: bool = False,
    total: int | None = None,
) -> tuple[dict, dict[str, np.ndarray]]:
    """Header numbers and arrays of a `PrefixTree`.

    Args:
        stream: sequences of token ids, or pairs `(sequence, payload)`.
        payloads: payloads beside `stream`, or None.
        folder: existing folder for temporary files.
        in_memory: False leaves the payload strings in `folder`, memory-mapped.
        memory: bytes of working memory.
        progress: show progress bars.
        total: number of items in `stream`, if known.
    """
    if memory <= 0:
        raise ValueError(f"`memory` must be positive. Received: {memory}")
    folder = Path(folder)
    with tqdm(
        total=total, desc="sorting", unit="key", unit_scale=True, disable=not progress
    ) as bar:
        runs = _read_runs(iter(_pairs(stream, payloads)), folder, memory, bar)
    register = Register()
    minimiser = Minimiser(register)
    content = folder / "payloads"
    rows_read = sum(map(len, runs))
    with (
        open(content, "wb") as file,
        tqdm(
            total=rows_read, desc="building", unit="key", unit_scale=True, disable=not progress
        ) as bar,
    ):
        payload_writer = PayloadWriter(file)
        for parts in _partitions(runs, memory) if runs else ():
            rows, lengths, texts = _merge(parts)
            minimiser.add(rows, lengths)
            payload_writer.add(texts)
            bar.update(sum(map(len, parts)))
        payload_start = payload_writer.finish()
    runs.clear()
    meta, arrays = minimiser.finish()
    if in_memory or not content.stat().st_size:
        strings = np.fromfile(content, np.uint8)
    else:
        strings = np.memmap(content, np.uint8, "r").view(np.ndarray)
    return meta, arrays | {"payload_start": payload_start, "payload_bytes": strings}
