import numpy as np
from contract import check_layer, to_numpy

from kexue_keras.layers import FirstToken


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_contract(tmp_path):
    check_layer(FirstToken(), (normal(2, 5, 3),), tmp_path)


def test_first_token_drops_the_mask():
    x = normal(2, 5, 3)
    np.testing.assert_array_equal(to_numpy(FirstToken()(x)), x[:, 0])
    assert FirstToken().compute_mask(x, np.ones((2, 5), bool)) is None
    assert FirstToken().compute_output_shape((None, None, 3)) == (None, 3)
