"""Memory that is freed and soon needed again."""

import ctypes
import platform


def reuse_freed_memory():
    """Makes the C library keep freed memory for the next allocation.

    TensorFlow, when it first reads a data set made of a Python generator (as `fit` does with any
    `PyDataset`), tells glibc to give memory back at once. On a CPU a training step then spends up
    to a third of its time in page faults. To be called after the first batch; harmless with other
    backends, and does nothing with other C libraries.

    Example:

    >>> from kexue_keras.datasets.freed_memory import reuse_freed_memory
    >>> reuse_freed_memory()
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_threshold = -1, -3  # parameters of mallopt(3)
    library = ctypes.CDLL(None)
    library.mallopt(trim_threshold, 1 << 30)
    library.mallopt(mmap_threshold, 1 << 30)
