import numpy as np
from contract import assert_close, check_layer, perturb, to_numpy

from kexue_keras.layers import BiasAdd


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_contract(tmp_path):
    check_layer(BiasAdd(), (normal(2, 5, 3),), tmp_path)
    check_layer(BiasAdd(), (normal(2, 3),), tmp_path, length_axis=None)


def test_bias_add():
    layer = BiasAdd()
    x = normal(2, 5, 3)
    assert_close(layer(x), x)
    perturb(layer)
    bias = to_numpy(layer.bias.value)
    assert np.abs(bias).min() > 0
    assert_close(layer(x), x + bias)
    mask = np.ones((2, 5), bool)
    assert layer.compute_mask(x, mask) is mask
