"""Batches of sequences, padded to few different lengths so that a compiled step is used again."""

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kexue_keras.datasets.freed_memory import reuse_freed_memory


class _Encoded(NamedTuple):
    structure: tuple
    leaves: list[np.ndarray]


class _Plan(NamedTuple):
    """An epoch: its batches as indices of samples; the rest is filled in as batches are read."""

    epoch: int
    batches: list[np.ndarray]
    opening: list[tuple[np.ndarray, np.ndarray]]
    fetched: set[int]


class Batches(keras.utils.PyDataset):
    """Turns samples into padded batches for `fit`, `evaluate` and `predict`, on any backend.

    Samples of similar length share a batch, and every array of a batch is padded with zeros to
    the smallest of a few lengths. What is left over from the samples of one length joins those of
    the next one, so an epoch has one incomplete batch at most. The order depends on `seed` and
    `epoch` alone. Call `fit(batches, shuffle=False, callbacks=[batches.callback()])` to have Keras
    keep this order (it shuffles the batches of any data set otherwise) and count the epochs; an
    interrupted training then continues with `initial_epoch`.

    `encode(sample)` gives the arrays of one sample: lists of numbers, NumPy arrays or single
    numbers, in one of these forms.

    | returned | batch |
    |---|---|
    | `(token_ids, segment_ids)`: a flat tuple; or a dict | `(inputs,)` |
    | `((token_ids, segment_ids), label)`: with a tuple or dict inside | `(inputs, targets)` |

    A tuple of one array, such as `(token_ids,)`, becomes that array. Integers and booleans become
    int32, other numbers float32.

    On TensorFlow, Keras takes the shapes of the first two batches for those of all. Therefore
    these two are of different lengths where there are several; where that cannot be (without
    shuffling), every batch has the greatest length.

    Args:
        samples: sequence of anything.
        encode: see above; called once per sample, or once per epoch with `augment`.
        batch_size: samples per batch.
        buckets: the lengths to pad to, ascending. Axis 0 of each array is padded to the smallest
            that its longest array in the batch fits in.
        shuffle: `False` keeps the order of `samples`, as `predict` needs it.
        seed: non-negative integer.
        augment: `augment(sample, rng)` gives the sample to encode in its place; `rng` is a
            `random.Random` that depends on the seed, the epoch and the sample's index.
        fixed: places, in the flattened output of `encode`, of arrays that have one shape in all
            samples and are not padded.
        drop_remainder: leave out the incomplete batch.
        fill: complete the last batch with rows of zeros. If there are targets, sample weights
            (1 and 0, float32) come as the third part of every batch.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Raises:
        ValueError: an argument out of range, a sample longer than the last bucket, or samples
            that are encoded to different forms; names the sample's index.

    Example:

    >>> texts = [[1, 2], [3], [4, 5, 6, 7, 8], [9, 9, 9]]
    >>> batches = Batches(texts, lambda ids: ((ids,), len(ids)), 2, (4, 8), shuffle=False)
    >>> [(inputs.shape, targets.tolist()) for inputs, targets in batches]
    [((2, 4), [2, 1]), ((2, 8), [5, 3])]
    """

    def __init__(
        self,
        samples: Sequence,
        encode: Callable[[Any], Any],
        batch_size: int,
        buckets: Sequence[int],
        shuffle: bool = True,
        seed: int = 0,
        augment: Callable[[Any, random.Random], Any] | None = None,
        fixed: Sequence[int] = (),
        drop_remainder: bool = False,
        fill: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.buckets = tuple(buckets)
        ascending = all(a < b for a, b in zip(self.buckets, self.buckets[1:], strict=False))
        if not self.buckets or not ascending or self.buckets[0] < 1:
            raise ValueError(f"`buckets` must be ascending positive lengths. Received: {buckets}")
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"`batch_size` must be a positive integer. Received: {batch_size}")
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"`seed` must be a non-negative integer. Received: {seed}")
        if drop_remainder and fill:
            raise ValueError("`drop_remainder` and `fill` exclude each other. Received: both True")
        least = batch_size if drop_remainder else 1
        if len(samples) < least:
            raise ValueError(f"`samples` must be at least {least}. Received: {len(samples)}")
        self.samples = samples
        self.encode = encode
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.augment = augment
        self.fixed = frozenset(fixed)
        self.drop_remainder = drop_remainder
        self.fill = fill
        self._structure = None
        self._padded: list[int] = []
        self._cache: list[list[np.ndarray]] = []
        self._floats: set[int] = set()
        self._sizes = self._encode_all()
        # With an augmentation any array may turn out longer or shorter.
        varies = (self._sizes != self._sizes[:1]).any(axis=0)
        self._varies = varies | bool(augment)
        self._always_longest = np.zeros_like(self._varies)
        self._inside_epoch = False
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._plan.batches)

    def __getitem__(self, index: int) -> tuple:
        """Batch `index` of the current epoch."""
        # Keras may still be reading ahead in another thread when the epoch changes.
        plan = self._plan
        if not 0 <= index < len(plan.batches):
            raise IndexError(f"`index` must be below {len(plan.batches)}. Received: {index}")
        plan.fetched.add(index)
        rows, sizes = self._rows(plan, index)
        longer, longest = self._opening(plan)
        if index == 1:
            sizes[longer] += 1
        sizes[longest | self._always_longest] = len(self.buckets) - 1
        lengths = np.array(self.buckets)[sizes]
        size = self.batch_size if self.fill else len(rows)
        places = dict(zip(self._padded, lengths.tolist(), strict=True))
        arrays = [stack([row[i] for row in rows], size, places.get(i)) for i in range(len(rows[0]))]
        for i in self._floats:
            arrays[i] = arrays[i].astype(np.float32, copy=False)
        return self._arrange(arrays, len(rows))

    @property
    def epoch(self) -> int:
        """Number of the epoch, which with `seed` decides the order; counts up by itself."""
        return self._plan.epoch

    @epoch.setter
    def epoch(self, epoch: int):
        if not isinstance(epoch, int) or epoch < 0:
            raise ValueError(f"`epoch` must be a non-negative integer. Received: {epoch}")
        self._plan = _Plan(epoch, self._batches_of(epoch), [], set())
        self._ended_before_it_began = False

    def on_epoch_begin(self):
        """Called by Keras. Takes back the end that Keras reports before its first epoch."""
        if self._ended_before_it_began:
            self.epoch -= 1
        self._inside_epoch = True
        self._plan.fetched.clear()

    def on_epoch_end(self):
        """Goes on to the next epoch, unless Keras only looked at some batches of this one."""
        inside, self._inside_epoch = self._inside_epoch, False
        if not inside:
            self._keep_longest(self._plan)
        if inside and len(self._plan.fetched) < len(self) and not self.use_multiprocessing:
            return
        self.epoch += 1
        self._ended_before_it_began = not inside

    def callback(self) -> keras.callbacks.Callback:
        """Sets `epoch` to Keras's own count, so that `fit(..., initial_epoch=n)` continues.

        It also keeps the memory that a step frees for the next one, `reuse_freed_memory`.
        """

        def set_epoch(epoch, logs=None):
            self.epoch = epoch

        def after_batch(batch, logs=None):
            if batch == 0:
                reuse_freed_memory()

        return keras.callbacks.LambdaCallback(
            on_epoch_begin=set_epoch, on_train_batch_end=after_batch
        )

    def _encode_all(self) -> np.ndarray:
        """Index of the bucket of every padded array of every sample, (samples, arrays)."""
        sizes = []
        for index, sample in enumerate(self.samples):
            leaves = self._encode_one(index, sample)
            if self.augment is None:
                self._cache.append(leaves)
            # Keras takes the dtype of the first batch for that of all
            self._floats |= _places_of_floats(leaves)
            lengths = [len(leaves[i]) for i in self._padded]
            sizes.append(np.searchsorted(self.buckets, lengths))
        return np.array(sizes, dtype=np.int64).reshape(len(sizes), len(self._padded))

    def _encode_one(self, index: int, sample: Any) -> list[np.ndarray]:
        structure, leaves = _flatten(self.encode(sample), index)
        form = (structure, [leaf.ndim for leaf in leaves])
        if self._structure is None:
            self._structure = form
            self._padded = [i for i, x in enumerate(leaves) if x.ndim and i not in self.fixed]
            if self.fixed - set(range(len(leaves))):
                raise ValueError(
                    f"`fixed` must be places of the {len(leaves)} arrays that `encode` gives. "
                    f"Received: {sorted(self.fixed)}"
                )
            if len(structure) > (2 if self.fill else 3):
                raise ValueError(
                    "`encode` must give inputs, targets and perhaps (without `fill`) sample "
                    f"weights. Received: {len(structure)} parts"
                )
        elif form != self._structure:
            raise ValueError(
                f"`encode` must give the same form for all samples. Received for sample {index}: "
                f"{form}, for sample 0: {self._structure}"
            )
        longest = max((len(leaves[i]) for i in self._padded), default=0)
        if longest > self.buckets[-1]:
            raise ValueError(
                f"`buckets` must fit all samples. Received: {self.buckets}, "
                f"and sample {index} of length {longest}"
            )
        return leaves

    def _batches_of(self, epoch: int) -> list[np.ndarray]:
        """Which samples are in which batch."""
        count = len(self.samples)
        generator = np.random.default_rng((self.seed, epoch))
        order = generator.permutation(count) if self.shuffle else np.arange(count)
        if self.drop_remainder:
            # before sorting: else it would be the longest samples that are never seen
            order = order[: count - count % self.batch_size]
        if self.shuffle and self._sizes.shape[1]:
            order = order[np.argsort(self._sizes[order, 0], kind="stable")]
        starts = range(0, len(order), self.batch_size)
        batches = [order[start : start + self.batch_size] for start in starts]
        if not self.shuffle:
            return batches
        # The incomplete batch, if there is one, stays the last.
        complete = len(batches) - (len(batches[-1]) < self.batch_size)
        batches[:complete] = [batches[i] for i in generator.permutation(complete)]
        self._separate(batches, complete)
        return batches

    def _separate(self, batches: list[np.ndarray], complete: int):
        """Puts a batch into second place that differs from the first in most of its lengths."""
        if complete < 2 or not self._varies.any():
            return
        sizes = np.array([self._sizes[batch].max(axis=0) for batch in batches[:complete]])
        score = (sizes[1:] != sizes[0]).sum(axis=1)
        best = 1 + int(score.argmax())
        batches[1], batches[best] = batches[best], batches[1]

    def _rows(self, plan: "_Plan", index: int) -> tuple[list[list[np.ndarray]], np.ndarray]:
        """Encoded samples of a batch, and the index of the bucket that each padded array needs."""
        members = plan.batches[index]
        if self.augment is None:
            return [self._cache[i] for i in members], self._sizes[members].max(axis=0)
        rows = []
        for i in members.tolist():
            rng = random.Random(f"{self.seed}:{plan.epoch}:{i}")
            leaves = self._encode_one(i, self.augment(self.samples[i], rng))
            if new := _places_of_floats(leaves) - self._floats:
                raise ValueError(
                    "`augment` must not make floats of arrays that are integers in all samples. "
                    f"Received for sample {i}: array {min(new)}"
                )
            rows.append(leaves)
        longest = [max(len(row[i]) for row in rows) for i in self._padded]
        return rows, np.searchsorted(self.buckets, longest)

    def _opening(self, plan: "_Plan") -> tuple[np.ndarray, np.ndarray]:
        """Arrays padded by one bucket more in the second batch, and to the last bucket in all.

        Keras takes lengths for fixed that are the same in the first two batches. Where the two need
        the same though others do not, the second is padded further, or, if that is impossible, all
        batches are as long as can be: those of the epoch, and after one that Keras looks at when a
        training begins, those of every epoch.
        """
        if not plan.opening:
            first, second = (self._rows(plan, i)[1] for i in (0, min(1, len(plan.batches) - 1)))
            alike = self._varies & (first == second)
            longest = (first == len(self.buckets) - 1) | (len(plan.batches) == 1)
            plan.opening.append((alike & ~longest, alike & longest))
            if plan.epoch == 0:
                self._keep_longest(plan)
        return plan.opening[0]

    def _keep_longest(self, plan: "_Plan"):
        """What is as long as can be in an epoch that Keras takes the shapes from stays so."""
        self._always_longest = self._always_longest | self._opening(plan)[1]

    def _arrange(self, arrays: list[np.ndarray], count: int) -> tuple:
        remaining = iter(arrays)
        batch = []
        for names in self._structure[0]:
            part = [next(remaining) for _ in names or (None,)]
            if isinstance(names, dict):
                batch.append(dict(zip(names, part, strict=True)))
            else:
                batch.append(part[0] if len(part) == 1 else tuple(part))
        if self.fill and len(batch) == 2:
            batch.append((np.arange(self.batch_size) < count).astype(np.float32))
        return tuple(batch)


def _flatten(encoded: Any, index: int) -> _Encoded:
    """Structure (of each part: a range, a dict's names, or None for an array) and arrays."""
    nested = isinstance(encoded, tuple) and any(isinstance(x, tuple | dict) for x in encoded)
    structure, leaves = [], []
    for part in encoded if nested else (encoded,):
        if isinstance(part, dict):
            structure.append(dict.fromkeys(part))
            leaves.extend(part.values())
        elif isinstance(part, tuple):
            structure.append(range(len(part)))
            leaves.extend(part)
        else:
            structure.append(None)
            leaves.append(part)
    if not leaves or any(part is not None and len(part) == 0 for part in structure):
        raise ValueError(f"`encode` must give arrays. Received for sample {index}: {encoded!r}")
    return _Encoded(tuple(structure), [_to_array(leaf, index) for leaf in leaves])


def _places_of_floats(leaves: list[np.ndarray]) -> set[int]:
    return {i for i, leaf in enumerate(leaves) if leaf.dtype.kind == "f"}


def _to_array(leaf: Any, index: int) -> np.ndarray:
    try:
        array = np.asarray(leaf)
    except ValueError as error:
        raise ValueError(
            f"`encode` must give arrays, lists of numbers or numbers. Received for sample "
            f"{index}: {str(leaf)[:80]}"
        ) from error
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"`encode` must give numbers. Received for sample {index}: {str(leaf)[:80]}"
        )
    return array.astype(np.float32 if array.dtype.kind == "f" and array.size else np.int32)


def stack(rows: Sequence[np.ndarray], size: int, length: int | None) -> np.ndarray:
    """Rows under one another in zeros of `size` rows, each padded to `length` if there is one.

    Example:

    >>> stack([np.array([1, 2]), np.array([3])], 3, 2).tolist()
    [[1, 2], [3, 0], [0, 0]]
    """
    shape = rows[0].shape if length is None else (length, *rows[0].shape[1:])
    whole = all(row.dtype.kind in "biu" for row in rows)
    batch = np.zeros((size, *shape), np.int32 if whole else np.float32)
    for i, row in enumerate(rows):
        if length is None:
            batch[i] = row
        else:
            batch[i, : len(row)] = row
    return batch
