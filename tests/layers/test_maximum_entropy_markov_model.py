"""What is special to a MEMM; see also test_label_path_layer.py."""

import keras
import numpy as np
import pytest
from label_paths import LABELS, LENGTHS, LOGITS, MASK, TRANS, Y, built, numpy

from kexue_keras import layers


def test_both_directions_are_one_under_reversal():
    layer, mirrored = built("bi-memm"), built("bi-memm", TRANS.T)
    found = numpy(layer.sparse_loss(Y, layer(LOGITS)))
    other = numpy(mirrored.sparse_loss(Y[:, ::-1], mirrored(LOGITS[:, ::-1])))
    np.testing.assert_allclose(found, other, rtol=1e-5)
    found = numpy(layer.sparse_loss(Y, layer(LOGITS, mask=MASK)))
    for row, n in enumerate(LENGTHS):
        y, logits = (x[row : row + 1, :n][:, ::-1] for x in (Y, LOGITS))
        np.testing.assert_allclose(found[row], numpy(mirrored.sparse_loss(y, logits))[0], rtol=1e-5)


def test_a_product_of_full_rank_is_any_matrix():
    full, low = built("bi-memm"), built("bi-memm", hidden_dim=LABELS)
    low.weights[0].assign(TRANS)
    low.weights[1].assign(np.eye(LABELS))
    np.testing.assert_allclose(numpy(low.trans), TRANS, rtol=1e-5)
    for method in ("sparse_loss", "sparse_accuracy"):
        a, b = (numpy(getattr(x, method)(Y, x(LOGITS, mask=MASK))) for x in (full, low))
        np.testing.assert_allclose(a, b, rtol=1e-5)
    np.testing.assert_array_equal(full.decode(LOGITS, MASK), low.decode(LOGITS, MASK))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_low_rank(bidirectional):
    layer = layers.MaximumEntropyMarkovModel(hidden_dim=2, bidirectional=bidirectional)
    output = layer(LOGITS)
    assert tuple(layer.trans.shape) == (LABELS, LABELS)
    assert np.linalg.matrix_rank(numpy(layer.trans), tol=1e-5) == 2
    assert [w.name for w in layer.weights] == ["l_trans", "r_trans"]
    assert numpy(layer.sparse_loss(Y, output)).shape == (4,)


def test_bad_rank():
    with pytest.raises(ValueError, match="`hidden_dim` must be at least 1"):
        layers.MaximumEntropyMarkovModel(hidden_dim=0)


@pytest.mark.parametrize("lr_multiplier", [1, 100])
def test_low_rank_starts_as_small_with_a_multiplier_and_trains(lr_multiplier):
    keras.utils.set_random_seed(0)
    layer = layers.MaximumEntropyMarkovModel(lr_multiplier=lr_multiplier, hidden_dim=2)
    inputs = keras.Input((None, LABELS))
    model = keras.Model(inputs, layer(inputs))
    limit = np.sqrt(6 / (LABELS + 2))
    assert 0 < np.abs(numpy(layer.trans)).max() <= 2 * limit**2 + 1e-6
    model.compile(keras.optimizers.Adam(0.05 / lr_multiplier), layer.sparse_loss)
    losses = model.fit(LOGITS, Y, epochs=30, batch_size=4, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
