"""Directions that are drawn again."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops

from kexue_keras import backend
from kexue_keras.training.seeded_noise import SeededNoise


def state_of(generator):
    return to_numpy(generator.state.value).tolist()


def test_every_part_of_every_direction_is_another_and_always_the_same():
    generator = keras.random.SeedGenerator(7)
    noise = SeededNoise(generator, parts=3, count=2)
    draws = {(i, k): to_numpy(noise.normal(i, k, (5,))) for i in range(2) for k in range(3)}
    assert state_of(generator) == [7, 0]
    assert len({tuple(x) for x in draws.values()}) == 6
    again = ops.fori_loop(
        0, 2, lambda i, x: x + noise.normal(i, 2, (5,)) * ops.cast(i, "float32"), ops.zeros((5,))
    )
    np.testing.assert_array_equal(to_numpy(again), draws[1, 2])
    noise.end()
    assert state_of(generator) == [7, 6]
    # as Keras's own generator counts
    fresh = keras.random.SeedGenerator(7)
    expected = [to_numpy(keras.random.normal((5,), seed=fresh)) for _ in range(6)]
    np.testing.assert_array_equal(
        np.stack([draws[i, k] for i in range(2) for k in range(3)]), expected
    )
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(
            to_numpy(SeededNoise(generator, 3, 2).normal(0, 0, (5,))), draws[0, 0]
        )


def test_the_numbers_are_normal_and_uniform():
    noise = SeededNoise(keras.random.SeedGenerator(0), 1, 1)
    x, u = to_numpy(noise.normal(0, 0, (40000,))), to_numpy(noise.uniform(0, 0, (40000,)))
    assert abs(x.mean()) < 0.02 and abs(x.std() - 1) < 0.02 and x.dtype == "float32"
    assert abs(u.mean() - 0.5) < 0.01 and u.min() >= 0 and u.max() < 1


def test_a_start_is_kept_though_the_generator_goes_on():
    generator = keras.random.SeedGenerator(1)
    noise = SeededNoise(generator, 1, 4)
    with backend.undone():
        generator.next()
        inside = to_numpy(noise.normal(0, 0, (3,)))
    generator.next()
    np.testing.assert_array_equal(to_numpy(noise.normal(0, 0, (3,))), inside)
