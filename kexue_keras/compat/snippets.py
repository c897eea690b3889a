"""bert4keras.snippets: padding, generators, decoders."""

import re
from concurrent.futures import ProcessPoolExecutor as _Processes
from concurrent.futures import ThreadPoolExecutor as _Threads

import numpy as np

from kexue_keras.compat.auto_regressive_decoder import AutoRegressiveDecoder
from kexue_keras.compat.data_generator import DataGenerator
from kexue_keras.compat.elsewhere import refuse
from kexue_keras.compat.text_file import open
from kexue_keras.compat.viterbi_decoder import ViterbiDecoder

__all__ = [
    "AutoRegressiveDecoder",
    "DataGenerator",
    "ViterbiDecoder",
    "is_one_of",
    "is_string",
    "longest_common_subsequence",
    "longest_common_substring",
    "open",
    "parallel_apply",
    "parallel_apply_generator",
    "sequence_padding",
    "softmax",
    "string_matching",
    "text_segmentate",
    "to_array",
    "truncate_sequences",
    "uniout",
]

uniout = None  # Python 3 prints Chinese as it is


def __getattr__(name):
    if name == "WebServing":  # which needs the extra `web`
        from kexue_keras.compat.web_serving import WebServing

        return WebServing
    refuse("snippets", name)


def to_array(*args):
    """NumPy arrays of all arguments; of one, the array itself."""
    arrays = [np.array(x) for x in args]
    return arrays[0] if len(arrays) == 1 else arrays


def is_string(s):
    return isinstance(s, str)


def is_one_of(x, ys):
    """Whether x is the very object of one of `ys`."""
    return any(x is y for y in ys)


def string_matching(s, keywords):
    """Whether one of the patterns is found in `s`."""
    return any(re.search(keyword, s) for keyword in keywords)


def softmax(x, axis=-1):
    x = np.exp(x - x.max(axis=axis, keepdims=True))
    return x / x.sum(axis=axis, keepdims=True)


def sequence_padding(inputs, length=None, value=0, seq_dims=1, mode="post"):
    """One array of sequences of different lengths.

    Args:
        inputs: sequences or arrays.
        length: their length afterwards, or a list of lengths; by default the greatest one.
        value: what is added.
        seq_dims: number of axes that are lengths.
        mode: "post" adds at the end, "pre" at the beginning.

    Example:

    >>> sequence_padding([[1, 2], [3]]).tolist()
    [[1, 2], [3, 0]]
    """
    if mode not in ("post", "pre"):
        raise ValueError(f'`mode` must be "post" or "pre". Received: {mode!r}')
    inputs = [np.asarray(x) for x in inputs]
    if length is None:
        length = [max(x.shape[axis] for x in inputs) for axis in range(seq_dims)]
    lengths = list(length) if hasattr(length, "__getitem__") else [length]
    rows = []
    for x in inputs:
        x = x[tuple(slice(size) for size in lengths)]
        missing = [size - x.shape[axis] for axis, size in enumerate(lengths)]
        widths = [(0, n) if mode == "post" else (n, 0) for n in missing]
        widths += [(0, 0)] * (x.ndim - len(widths))
        rows.append(np.pad(x, widths, constant_values=value))
    return np.array(rows)


def truncate_sequences(maxlen, indices, *sequences):
    """Takes the items at `indices` from the longest sequence until all are `maxlen` together."""
    sequences = [s for s in sequences if s]
    if not isinstance(indices, list | tuple):
        indices = [indices] * len(sequences)
    while sum(map(len, sequences)) > maxlen:
        longest = max(range(len(sequences)), key=lambda i: len(sequences[i]))
        sequences[longest].pop(indices[longest])
    return sequences


def text_segmentate(text, maxlen, seps="\n", strips=None):
    """Pieces of at most `maxlen`, where the separators allow it, cut at the first ones that do.

    Args:
        text: any text.
        maxlen: largest length of a piece.
        seps: separators, the strongest first.
        strips: characters that are taken from both ends of a piece; None: spaces.

    Example:

    >>> text_segmentate("天很蓝。云很白，风很轻。", 8, "。，", "，。")
    ['天很蓝', '云很白，风很轻']
    """
    text = text.strip().strip(strips)
    if not seps or len(text) <= maxlen:
        return [text]
    parts = [part + seps[0] for part in text.split(seps[0])]
    parts[-1] = parts[-1][:-1]
    pieces, piece = [], ""
    for part in parts:
        size = len(part.removesuffix(seps[0])) if part is not parts[-1] else len(part)
        if piece and size and len(piece) + size > maxlen - 1:
            pieces.append(piece)
            piece = ""
        piece += part
    pieces += [piece] if piece else []
    return [p for piece in pieces for p in text_segmentate(piece, maxlen, seps[1:], strips)]


def parallel_apply_generator(
    func, iterable, workers, max_queue_size, dummy=False, random_seeds=True
):
    """`(i, func(item i))` for all items, as they are ready.

    Args:
        func: in processes, one that can be pickled.
        iterable: the items.
        workers: number of processes, or of threads with `dummy`.
        max_queue_size: how many items wait at most.
        dummy: whether threads do it.
        random_seeds: seeds of NumPy's generators in the processes; True: random ones.
    """
    pool = _Threads(workers) if dummy else _Processes(workers, initializer=np.random.seed)
    with pool:
        waiting, done = {}, []
        for i, item in enumerate(iterable):
            waiting[pool.submit(func, item)] = i
            if len(waiting) > max_queue_size:
                done = [future for future in waiting if future.done()] or [next(iter(waiting))]
            for future in done:
                yield waiting.pop(future), future.result()
            done = []
        for future, i in waiting.items():
            yield i, future.result()


def parallel_apply(
    func,
    iterable,
    workers,
    max_queue_size,
    callback=None,
    dummy=False,
    random_seeds=True,
    unordered=True,
):
    """A list of `func(item)`, or calls `callback` with each; see `parallel_apply_generator`."""
    found = parallel_apply_generator(func, iterable, workers, max_queue_size, dummy, random_seeds)
    if callback is None:
        found = list(found)
        return [x for _, x in (found if unordered else sorted(found, key=lambda pair: pair[0]))]
    for _, x in found:
        callback(x)


def longest_common_substring(source, target):
    """Length of the longest common run, and `(start, end, start, end)` of it in both."""
    best, row = (0, (0, 0, 0, 0)), [0] * (len(target) + 1)
    for i, a in enumerate(source, 1):
        row = [0] + [row[j] + 1 if a == b else 0 for j, b in enumerate(target)]
        j = max(range(len(row)), key=row.__getitem__)
        if row[j] > best[0]:
            best = row[j], (i - row[j], i, j - row[j], j)
    return best


def longest_common_subsequence(source, target):
    """Length of the longest common subsequence, and a list of its pairs of places."""
    n, m = len(source), len(target)
    lengths = np.zeros((n + 1, m + 1), int)  # of what is left from i and j on
    for i in reversed(range(n)):
        for j in reversed(range(m)):
            same = source[i] == target[j]
            after = lengths[i + 1, j + 1] + 1
            lengths[i, j] = after if same else max(lengths[i + 1, j], lengths[i, j + 1])
    pairs, i, j = [], 0, 0
    while i < n and j < m:
        if source[i] == target[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif lengths[i + 1, j] >= lengths[i, j + 1]:
            i += 1
        else:
            j += 1
    return len(pairs), pairs
