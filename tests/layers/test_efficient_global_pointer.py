"""What EfficientGlobalPointer has of its own; the rest is in test_global_pointer.py."""

import numpy as np
from contract import perturb, to_numpy

from kexue_keras.layers import EfficientGlobalPointer

X = np.random.default_rng(0).normal(size=(1, 6, 8)).astype("float32")


def test_types_differ_by_what_starts_and_ends_say_alone():
    """s_a - s_b = f(i) + g(j): its mixed second differences vanish."""
    layer = EfficientGlobalPointer(3, 4, tril_mask=False)
    layer(X)
    perturb(layer)
    scores = to_numpy(layer(X))[0]
    difference = scores[0] - scores[1]
    mixed = np.diff(np.diff(difference, axis=0), axis=1)
    assert np.abs(difference).max() > 0.1
    np.testing.assert_allclose(mixed, 0, atol=1e-5)
    assert np.abs(np.diff(np.diff(scores[0], axis=0), axis=1)).max() > 0.1


def test_it_is_smaller_than_the_whole_one():
    """https://kexue.fm/archives/8877: 0.1 million weights in place of 10 for 100 types."""
    layer = EfficientGlobalPointer(100, 64)
    layer(np.zeros((1, 2, 768), "float32"))
    assert layer.count_params() == 769 * 128 + 129 * 200
