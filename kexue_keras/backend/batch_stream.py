"""Batches of any lengths from an iterator, for `fit`, `evaluate` and `predict`."""

import itertools

import keras
import numpy as np
from keras.src.trainers.data_adapters import data_adapter_utils
from keras.src.trainers.data_adapters.data_adapter import DataAdapter

_CHANNELS = 4


class BatchStream(DataAdapter):
    """An iterator of batches that Keras's `fit` takes, whose lengths may differ from first to last.

    Of a plain generator Keras takes every length that its first two batches share for that of all,
    on TensorFlow, and fails at the first batch of another length. Here all lengths are open but
    those of size 1 and the channels of pictures (a last axis of up to 4 after three others).

    It is an iterator itself, and what `next` gives is what was put in.

    Args:
        batches: iterable of batches: `(inputs, targets)`, `(inputs, targets, weights)`, where lists
            count as tuples and a target of None as none.
        inputs_alone: whether what is iterated over are inputs, without targets.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import backend
    >>> batches = ([np.ones((2, n, 3)), None] for n in (4, 4, 5))
    >>> stream = backend.BatchStream(batches)
    >>> next(stream)[0].shape
    (2, 4, 3)
    """

    def __init__(self, batches, inputs_alone=False):
        self._batches = iter(batches)
        self._inputs_alone = inputs_alone
        self._first = None

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._batches)

    def _arrays(self):
        """Arrays from the first batch on, which Keras may ask for once to build a model."""
        if self._first is None:
            self._first = [self._array_of(item) for item in itertools.islice(self._batches, 1)]
        return itertools.chain(self._first, map(self._array_of, self._batches))

    def _array_of(self, item):
        return (_structure(item),) if self._inputs_alone else _batch(item)

    def get_numpy_iterator(self):
        return self._arrays()

    def get_jax_iterator(self):
        return data_adapter_utils.get_jax_iterator(self._arrays())

    def get_torch_dataloader(self):
        return data_adapter_utils.get_torch_dataloader(self._arrays())

    def get_tf_dataset(self):
        import tensorflow as tf

        first = next(self._arrays(), None)
        if first is None:
            raise ValueError("`batches` must have one batch or more. Received: none")

        def spec(x):
            shape = [None if keep is None else int(keep) for keep in _fixed(x.shape)]
            return tf.TensorSpec(shape, x.dtype)

        signature = keras.tree.map_structure(spec, first)
        dataset = tf.data.Dataset.from_generator(self._arrays, output_signature=signature)
        return dataset.prefetch(tf.data.AUTOTUNE)

    @property
    def num_batches(self):
        return None

    @property
    def batch_size(self):
        return None

    @property
    def has_partial_batch(self):
        return None

    @property
    def partial_batch_size(self):
        return None


def _fixed(shape):
    """The sizes that all batches share, None where they may differ."""
    sizes = [None, *(size if size == 1 else None for size in shape[1:])]
    if len(shape) >= 4 and shape[-1] <= _CHANNELS:
        sizes[-1] = shape[-1]
    return sizes[: len(shape)]


def _batch(item):
    """`(inputs,)`, `(inputs, targets)` or `(inputs, targets, weights)` of arrays."""
    parts = list(item) if isinstance(item, list | tuple) else [item]
    while len(parts) > 1 and parts[-1] is None:
        parts.pop()
    return tuple(_structure(part) for part in parts)


def _structure(x):
    """Arrays, in tuples where there were lists of arrays."""
    if isinstance(x, dict):
        return {key: _structure(value) for key, value in x.items()}
    if isinstance(x, list | tuple) and any(hasattr(part, "shape") for part in x):
        if not all(np.ndim(part) == 0 for part in x):
            return tuple(_structure(part) for part in x)
    x = np.asarray(x)
    return x.astype(keras.config.floatx()) if x.dtype == "float64" else x
