"""bert4keras's `DataGenerator`."""

import numpy as np

from kexue_keras.backend import BatchStream


class DataGenerator:
    """Goes through data sample by sample; subclasses write `__iter__`, which makes batches.

    Args:
        data: sequence or iterable of samples.
        batch_size: samples of a batch.
        buffer_size: samples held to draw from, for data without a length.

    Example:

    >>> class Pairs(DataGenerator):
    ...     def __iter__(self, random=False):
    ...         batch = []
    ...         for is_end, sample in self.sample(random):
    ...             batch.append(sample)
    ...             if len(batch) == self.batch_size or is_end:
    ...                 yield np.array(batch), None
    ...                 batch = []
    >>> generator = Pairs([1, 2, 3], batch_size=2)
    >>> len(generator), [batch.tolist() for batch, _ in generator]
    (2, [[1, 2], [3]])
    """

    def __init__(self, data, batch_size=32, buffer_size=None):
        self.data = data
        self.batch_size = batch_size
        self.steps = -(-len(data) // batch_size) if hasattr(data, "__len__") else None
        self.buffer_size = buffer_size or batch_size * 1000

    def __len__(self):
        return self.steps

    def sample(self, random=False):
        """`(is_end, sample)` for every sample, `is_end` at the last one.

        Args:
            random: in an order drawn from NumPy's global generator; data without a length are
                drawn from a buffer.
        """
        samples = self._shuffled() if random else iter(self.data)
        missing = object()
        held = next(samples, missing)
        while held is not missing:
            following = next(samples, missing)
            yield following is missing, held
            held = following

    def _shuffled(self):
        if self.steps is not None:
            yield from (self.data[i] for i in np.random.permutation(len(self.data)))
            return
        buffer = []
        for sample in self.data:
            buffer.append(sample)
            if len(buffer) > self.buffer_size:
                yield buffer.pop(np.random.randint(len(buffer)))
        while buffer:
            yield buffer.pop(np.random.randint(len(buffer)))

    def __iter__(self, random=False):
        raise NotImplementedError(f"{type(self).__name__} must have a method `__iter__`.")

    def _epochs(self, random):
        while True:
            yield from self.__iter__(random)

    def forfit(self, random=True):
        """Batches without end, for `fit`; see `kexue_keras.backend.BatchStream`."""
        return BatchStream(self._epochs(random))

    def fortest(self, random=False):
        """Their inputs without end, for `predict`."""
        return BatchStream((batch[0] for batch in self._epochs(random)), inputs_alone=True)

    def to_dataset(self, types, shapes, names=None, padded_batch=False):
        """A `tf.data.Dataset` of batches, where `__iter__` gives single samples.

        Args:
            types, shapes: the dtypes and shapes of a sample, nested as it is.
            names: None; or names for the parts, nested likewise, by which they become dicts. The
                names of targets are left out: the dataset then gives targets in their order.
            padded_batch: whether samples are padded to the longest of their batch.
        """
        import tensorflow as tf

        types, shapes = _named(names, _tuples(types)), _named(names, _opened(shapes))

        def samples():
            for sample in self._epochs(True):
                yield _like(types, _named(names, _without_none(sample)))

        def signature(types, shapes):
            if isinstance(types, dict):
                return {key: signature(types[key], shapes[key]) for key in types}
            if isinstance(types, tuple):
                return tuple(signature(*pair) for pair in zip(types, shapes, strict=True))
            return tf.TensorSpec([None] * len(shapes) if padded_batch else shapes, types)

        dataset = tf.data.Dataset.from_generator(samples, output_signature=signature(types, shapes))
        if padded_batch:
            return dataset.padded_batch(self.batch_size, shapes)
        return dataset.batch(self.batch_size)


def _opened(shapes):
    """Shapes as lists, their nesting as tuples; a shape is a list of sizes."""
    if isinstance(shapes, list | tuple) and all(s is None or isinstance(s, int) for s in shapes):
        return list(shapes)
    return tuple(_opened(s) for s in shapes)


def _without_none(sample):
    parts = list(sample)
    while len(parts) > 1 and parts[-1] is None:
        parts.pop()
    return tuple(parts)


def _named(names, parts):
    """Inputs as a dict by their names; targets, the second part, as a tuple, or the one."""
    if names is None:
        return parts
    if isinstance(names, str):
        return {names: parts}
    if isinstance(names[0], str):
        return dict(zip(names, parts, strict=True))
    inputs = dict(zip(names[0], parts[0], strict=True))
    targets = [tuple(part) if len(part) > 1 else part[0] for part in parts[1:]]
    return (inputs, *targets)


def _tuples(types):
    return tuple(_tuples(part) for part in types) if isinstance(types, list | tuple) else types


def _like(types, parts):
    """The parts of a sample, nested in tuples and dicts as their dtypes are."""
    if isinstance(types, dict):
        return {key: _like(types[key], parts[key]) for key in types}
    if isinstance(types, tuple):
        return tuple(_like(*pair) for pair in zip(types, parts, strict=True))
    return parts
