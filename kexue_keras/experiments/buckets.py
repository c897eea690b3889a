"""The one rule of what lengths batches are padded to."""

from kexue_keras import backend


def buckets(maxlen, step=8, compiled=None):
    """Lengths for `datasets.Batches`, ascending, the last one `maxlen`.

    Fine steps where a new length costs nothing; where every new shape is compiled, four multiples
    of 32 at most.

    Args:
        maxlen: length of the longest sample.
        step: between two lengths where nothing is compiled.
        compiled: whether every new shape is; None: whether training steps are here.

    Example:

    >>> buckets(20, compiled=False), buckets(192, compiled=True)
    ((8, 16, 20), (64, 128, 192))
    """
    if backend.train_with_xla() if compiled is None else compiled:
        step = 32 * -(-maxlen // 128)
    return (*range(step, maxlen, step), maxlen)
