"""Samples of any length: sorted, computed in batches of similar lengths, and back in order."""

import numpy as np
from tqdm import tqdm

from kexue_keras import datasets


def progress_bar(steps, show=True):
    """The steps, with a progress bar on a terminal."""
    return tqdm(steps, leave=False, disable=None if show else True)


def by_length(function, samples, batch_size=32, length=len, progress=False):
    """What a function gives for samples, computed in batches of similar lengths.

    Args:
        function: takes a list of samples, returns a value for each, and perhaps more, which are
            passed over.
        samples: a list.
        batch_size: most samples at once.
        length: function of a sample.
        progress: show a progress bar on a terminal.

    Returns:
        The values in the order of `samples`.

    Example:

    >>> by_length(lambda part: [f"{text} of {len(part)}" for text in part], ["aaa", "a", "aa"], 2)
    ['aaa of 1', 'a of 2', 'aa of 2']
    """
    order = sorted(range(len(samples)), key=lambda i: length(samples[i]))
    values = [None] * len(samples)
    for start in progress_bar(range(0, len(order), batch_size), progress):
        chosen = order[start : start + batch_size]
        found = function([samples[i] for i in chosen])
        for i, value in zip(chosen, found, strict=False):
            values[i] = value
    return values


def in_parts(function, samples, size=32, progress=False):
    """What a function gives for samples, computed in parts, in their order.

    Args:
        function: takes some samples and the place of the first one, returns a value for each.
        samples: a list.
        size: most samples at once.
        progress: show a progress bar on a terminal.

    Example:

    >>> in_parts(lambda part, start: [start + x for x in part], [1, 2, 3], size=2)
    [1, 2, 5]
    """
    values = []
    for start in progress_bar(range(0, len(samples), size), progress):
        values += function(samples[start : start + size], start)
    return values


def seed_of(seed, start):
    """A seed of its own for the part of some samples that begins at `start`."""
    return int(np.random.SeedSequence((seed, start)).generate_state(1)[0]) >> 1


def pad(rows, lengths, size):
    """Encoded samples as arrays of a few different shapes.

    Args:
        rows: of every sample a tuple of lists of int.
        lengths: for each place of the tuples the lengths, ascending, that an array may have; it is
            padded to the first that is long enough.
        size: number of rows of the arrays; those that are too many are zeros.

    Returns:
        int32 arrays, one for each place.

    Example:

    >>> [array.tolist() for array in pad([([1, 2, 3],), ([4],)], [(2, 4)], 3)]
    [[[1, 2, 3, 0], [4, 0, 0, 0], [0, 0, 0, 0]]]
    """
    arrays = []
    for column, possible in zip(zip(*rows, strict=True), lengths, strict=True):
        longest = max(map(len, column))
        width = next(n for n in possible if n >= longest)
        arrays.append(datasets.stack([np.array(x, "int32") for x in column], size, width))
    return arrays


def predict(model, rows, lengths, batch_size=64):
    """The outputs of a model for encoded samples, in their order.

    Args:
        model: a Keras model with one output for a sample.
        rows: of every sample a tuple of lists of int.
        lengths: ascending lengths to pad to; what is as long in all samples is not padded.
        batch_size: samples at once.

    Returns:
        NumPy array.
    """
    places = [{len(x) for x in column} for column in zip(*rows, strict=True)]
    possible = [found if len(found) == 1 else lengths for found in places]

    def outputs(part):
        return model.predict_on_batch(pad(part, possible, batch_size))

    return np.stack(by_length(outputs, rows, batch_size, lambda row: max(map(len, row))))
