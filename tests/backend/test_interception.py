"""Layers whose outputs are others inside a context."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops

from kexue_keras import backend


def model_and_layer():
    layer = keras.layers.Embedding(5, 3, name="words", mask_zero=True)
    tokens = keras.Input((4,), dtype="int32")
    model = keras.Model(tokens, keras.layers.GlobalAveragePooling1D()(layer(tokens)))
    return keras.Sequential([keras.Input((4,), dtype="int32"), model]), layer


def test_a_nested_layer_gives_another_output_and_keeps_its_mask():
    model, layer = model_and_layer()
    tokens = np.array([[1, 2, 3, 0]], "int32")
    before = to_numpy(model(tokens))
    other = np.arange(12, dtype="float32").reshape(1, 4, 3)
    with backend.intercepted(layer, lambda call, ids: ops.convert_to_tensor(other)):
        inside = to_numpy(model(tokens))
    np.testing.assert_allclose(inside, other[:, :3].mean(1), rtol=1e-6)  # 0 is padding
    np.testing.assert_array_equal(to_numpy(model(tokens)), before)
    assert "call" not in vars(layer)


def test_contexts_go_into_each_other_and_end_with_errors():
    model, layer = model_and_layer()
    tokens = np.array([[1, 2, 3, 4]], "int32")
    before = to_numpy(model(tokens))
    with backend.intercepted(layer, lambda call, ids: 2.0 * call(ids)):
        with pytest.raises(KeyError):
            with backend.intercepted(layer, lambda call, ids: 3.0 * call(ids)):
                np.testing.assert_allclose(to_numpy(model(tokens)), 6 * before, rtol=1e-5)
                raise KeyError
        np.testing.assert_allclose(to_numpy(model(tokens)), 2 * before, rtol=1e-5)
    np.testing.assert_array_equal(to_numpy(model(tokens)), before)
