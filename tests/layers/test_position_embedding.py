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


@pytest.mark.parametrize("alpha", [0.4, 0.7])
def test_hierarchical_positions(alpha, tmp_path):
    """The formula, place by place; the trained positions are what they were."""
    layer = PositionEmbedding(3, 4, "uniform", hierarchical=alpha)
    x = normal(2, 9, 4)
    layer(x)
    perturb(layer)
    p = to_numpy(layer.embeddings.value).astype("float64")
    u = (p - alpha * p[0]) / (1 - alpha)
    expected = np.stack([alpha * u[t // 3] + (1 - alpha) * u[t % 3] for t in range(9)])
    np.testing.assert_allclose(expected[:3], p, atol=1e-12)
    assert_close(layer(x), x + expected)
    assert_close(layer.lookup(np.array([[8, 1]])), expected[[[8, 1]]])
    check_layer(PositionEmbedding(3, 4, "uniform", hierarchical=alpha), (x,), tmp_path)
    with pytest.raises(ValueError, match="at most 9 positions"):
        layer(normal(1, 10, 4))


def test_a_share_that_mixes_up_positions_is_refused():
    with pytest.raises(ValueError, match="`hierarchical` must .*Received: 0.5"):
        PositionEmbedding(3, 4, hierarchical=0.5)
