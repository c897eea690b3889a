import numpy as np
from contract import check_layer, to_numpy

from kexue_keras.layers import Embedding, MaskedAdd

IDS = np.array([[1, 2, 0, 3], [0, 0, 6, 6]], "int32")


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_masked_add_keeps_the_first_mask(tmp_path):
    inputs = [normal(2, 4, 3), normal(2, 4, 3)]
    check_layer(MaskedAdd(), (inputs,), tmp_path)
    embedded = Embedding(7, 3, mask_zero=True)(IDS)
    added = MaskedAdd()([embedded, inputs[0]])
    np.testing.assert_allclose(to_numpy(added), to_numpy(embedded) + inputs[0], rtol=1e-6)
    visible = IDS != 0
    visible[:, 0] = True
    np.testing.assert_array_equal(to_numpy(added._keras_mask), visible)
    assert getattr(MaskedAdd()(inputs), "_keras_mask", None) is None
