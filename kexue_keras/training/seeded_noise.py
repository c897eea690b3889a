"""Random directions in the space of the weights that are drawn again in place of being kept."""

import keras
from keras import ops

from kexue_keras import backend


class SeededNoise:
    """Numbered normal directions of a step, one tensor per variable, each made from its number.

    A direction takes no memory: `normal(i, k)` gives the same tensor whenever it is called in a
    step, also inside a compiled loop, where `i` is a tensor. The states of the seeds are those of
    the generator, counted on by `end`.

    Args:
        generator: `keras.random.SeedGenerator` that nothing else draws from.
        parts: number of tensors of a direction.
        count: number of directions.

    Example:

    >>> import numpy as np
    >>> noise = SeededNoise(keras.random.SeedGenerator(0), parts=2, count=3)
    >>> first, again = noise.normal(1, 0, (4,)), noise.normal(1, 0, (4,))
    >>> bool(keras.ops.all(first == again)), bool(keras.ops.any(first == noise.normal(1, 1, (4,))))
    (True, False)
    """

    def __init__(self, generator, parts, count):
        self.generator = generator
        self.parts = parts
        self.count = count
        # on TensorFlow a value follows its variable: read it now
        self._start = generator.state.value + ops.zeros_like(generator.state.value)

    def normal(self, direction, part, shape):
        """Standard normal float32 of the given shape."""
        return self._draw(keras.random.normal, direction, part, shape)

    def uniform(self, direction, part, shape):
        """Uniform float32 in [0, 1) of the given shape."""
        return self._draw(keras.random.uniform, direction, part, shape)

    def end(self):
        """Has the generator go on behind all that was drawn."""
        self.generator.state.assign(self._state(self.count, 0))

    def _draw(self, draw, direction, part, shape):
        with backend.undone([(self.generator.state, self._state(direction, part))]):
            return draw(shape, dtype="float32", seed=self.generator)

    def _state(self, direction, part):
        dtype = self._start.dtype
        place = ops.cast(direction, dtype) * self.parts + ops.cast(part, dtype)
        return self._start + ops.stack([ops.zeros_like(place), place])
