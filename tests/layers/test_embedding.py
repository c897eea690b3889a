import keras
import numpy as np
import pytest
from contract import assert_close, check_layer, to_numpy

from kexue_keras import backend
from kexue_keras.layers import Embedding

IDS = np.array([[1, 2, 0, 3], [0, 0, 6, 6]], "int32")


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("config", [{}, {"mask_zero": True, "embeddings_initializer": "he_normal"}])
def test_contract_of_embedding(config, tmp_path):
    check_layer(Embedding(7, 4, **config), (IDS,), tmp_path)


def test_embedding_looks_up_and_multiplies_by_the_same_table():
    layer = Embedding(7, 4)
    found = layer(IDS)
    table = to_numpy(layer.embeddings.value)
    np.testing.assert_array_equal(to_numpy(found), table[IDS])
    hidden = normal(2, 3, 4)
    assert_close(layer(hidden, mode="dense"), np.einsum("btd,vd->btv", hidden, table))


def test_gradients_of_both_uses_add_up_in_the_table():
    layer = Embedding(5, 3)
    ids = np.array([[1, 1, 4]], "int32")
    layer(ids)
    table = to_numpy(layer.embeddings.value)
    weights = normal(1, 3, 5)
    _, (gradient,) = backend.value_and_grad(
        lambda: keras.ops.sum(layer(layer(ids), mode="dense") * weights), [layer.embeddings]
    )()
    expected = np.einsum("btv,btd->vd", weights, table[ids])
    for position, token in enumerate(ids[0]):
        expected[token] += weights[0, position] @ table
    assert_close(gradient, expected)


def test_embedding_mask_never_hides_the_first_position():
    layer = Embedding(7, 4, mask_zero=True)
    mask = layer.compute_mask(keras.ops.convert_to_tensor(IDS))
    expected = [[True, True, False, True], [True, False, True, True]]
    assert to_numpy(mask).tolist() == expected
    assert layer.compute_mask(normal(2, 4, 4), mask) is mask
    assert Embedding(7, 4).compute_mask(IDS) is None


def test_dense_mode_has_a_known_shape_and_dtype():
    layer = Embedding(7, 4, dtype="mixed_bfloat16")
    ids, hidden = keras.Input((None,), dtype="int32"), keras.Input((None, 4))
    assert layer(ids).shape == (None, None, 4)
    assert layer(hidden, mode="dense").shape == (None, None, 7)
    assert layer(hidden, mode="dense").dtype == "bfloat16"


def test_ids_may_come_as_floats():
    for policy in ("float32", "mixed_float16", "mixed_bfloat16"):
        layer = Embedding(5000, 4, dtype=policy)
        ids = np.array([[257, 299, 4999]])
        assert_close(layer(ids.astype("float32")), layer(ids))


def test_logits_of_single_vectors_have_no_mask():
    layer = Embedding(7, 4, mask_zero=True)
    assert layer(IDS)._keras_mask is not None
    hidden = np.array([[0.0, 1.0, 0.0, 2.0]], "float32")
    assert getattr(layer(hidden, mode="dense"), "_keras_mask", None) is None
    symbolic = layer(keras.Input((4,)), mode="dense")
    assert getattr(symbolic, "_keras_mask", None) is None
    assert layer(IDS)._keras_mask is not None


def test_mixed_precision_keeps_large_ids():
    """float16 and bfloat16 hold no odd integer above 2048 and 256: ids must never pass through."""
    for policy in ("mixed_float16", "mixed_bfloat16"):
        layer = Embedding(5000, 2, dtype=policy)
        ids = keras.Input((None,), dtype="int32")
        model = keras.Model(ids, layer(ids))
        found = to_numpy(keras.ops.cast(model(np.array([[4999, 2049]])), "float32"))
        expected = to_numpy(layer.embeddings.value)[[[4999, 2049]]]
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_bad_mode():
    with pytest.raises(ValueError, match="`mode` must be .* Received: 'both'"):
        Embedding(7, 4)(IDS, mode="both")


def test_how_a_layer_was_called_before_decides_nothing():
    """Ids are told from vectors by their dtype, not by what the last call was."""
    layer = Embedding(5, 4, mask_zero=True)
    ids = keras.ops.convert_to_tensor(np.array([[2, 0, 3, 0]], "int32"))
    vectors = layer(ids)
    for before in (lambda: layer(ids), lambda: layer(vectors, mode="dense")):
        before()
        assert to_numpy(layer.compute_mask(ids)).tolist() == [[True, False, True, False]]
        assert layer.compute_mask(vectors) is None
        assert layer.compute_mask(vectors[:, 0]) is None
