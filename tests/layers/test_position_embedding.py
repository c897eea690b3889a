import keras
import numpy as np
import pytest
from contract import assert_close, check_layer, perturb, to_numpy

from kexue_keras.layers import PositionEmbedding


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_contract_of_position_embedding(tmp_path):
    layer = PositionEmbedding(9, 4, embeddings_initializer="uniform")
    check_layer(layer, (normal(2, 5, 4),), tmp_path)


def test_position_embedding_adds_the_vector_of_every_position():
    layer = PositionEmbedding(9, 4)
    x = normal(2, 5, 4)
    layer(x)
    perturb(layer)
    table = to_numpy(layer.embeddings.value)
    assert_close(layer(x), x + table[None, :5])
    assert_close(layer(normal(1, 9, 4)), normal(1, 9, 4) + table)
    assert_close(layer.lookup(np.array([[8, 0]])), table[[[8, 0]]])


def test_position_embedding_passes_a_mask_through():
    layer = PositionEmbedding(9, 4)
    mask = keras.ops.convert_to_tensor(np.array([[True, False]]))
    assert layer.supports_masking
    assert layer.compute_mask(normal(1, 2, 4), mask) is mask


def test_too_long_a_sequence_fails_in_a_compiled_model_too():
    """With an unknown length the layer cannot know at build time."""
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, PositionEmbedding(4, 3)(inputs))
    with pytest.raises(ValueError, match="at most 4 positions"):
        model.predict(normal(1, 5, 3), verbose=0)


def test_too_many_positions():
    with pytest.raises(ValueError, match=r"at most 4 positions \(`input_dim`\). Received: 5"):
        PositionEmbedding(4, 3, name="places")(normal(1, 5, 3))
