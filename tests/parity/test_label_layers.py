"""CRF and MEMM against bert4keras's layers."""

import numpy as np
import pytest
from keras import ops

from kexue_keras import layers

pytestmark = pytest.mark.parity

RNG = np.random.default_rng(0)
LABELS = 4
LOGITS = RNG.normal(size=(3, 6, LABELS)).astype("float32")
TRANS = RNG.normal(size=(LABELS, LABELS)).astype("float32")
Y = RNG.integers(0, LABELS, (3, 6)).astype("int32")


def numpy(x):
    return ops.convert_to_numpy(x)


def ours(make):
    layer = make(lr_multiplier=2)
    output = layer(LOGITS)
    layer.weights[0].assign(TRANS)
    return layer, output


def theirs(bert4keras, name, mask=None, **more):
    arrays = {"logits": LOGITS, "trans": TRANS, "y": Y}
    if mask is not None:
        arrays["mask"] = mask
    return bert4keras.run("label_layer", arrays, name=name, lr_multiplier=2, **more)


def test_crf(bert4keras):
    found = theirs(bert4keras, "ConditionalRandomField")
    layer, output = ours(layers.ConditionalRandomField)
    np.testing.assert_allclose(numpy(layer.trans), found["trans"], rtol=1e-6)
    np.testing.assert_allclose(numpy(layer.sparse_loss(Y, output)), found["loss"], rtol=1e-4)
    accuracy = numpy(layer.sparse_accuracy(Y, output))
    assert accuracy == pytest.approx(float(found["accuracy"]), abs=1e-6)
    np.testing.assert_array_equal(layer.decode(LOGITS), found["paths"])


def test_first_and_last_labels(bert4keras):
    layer, _ = ours(layers.ConditionalRandomField)
    free = layer.decode(LOGITS)
    for starts, ends in (([0, 2], [1]), ([3], [0, 3])):
        found = theirs(bert4keras, "ConditionalRandomField", starts=starts, ends=ends)["paths"]
        np.testing.assert_array_equal(layer.decode(LOGITS, starts=starts, ends=ends), found)
        assert (found != free).any()


def test_masked_crf(bert4keras):
    mask = np.arange(6) < np.array([[6], [4], [1]])
    found = theirs(bert4keras, "ConditionalRandomField", mask=mask)
    layer, _ = ours(layers.ConditionalRandomField)
    output = layer(LOGITS, mask=mask)
    np.testing.assert_allclose(numpy(layer.sparse_loss(Y, output)), found["loss"], rtol=1e-4)


def test_memm_of_halved_scores_is_theirs(bert4keras):
    """Their scores, fed to ours: everything after the first label halved, one way at a time."""
    expected = theirs(bert4keras, "MaximumEntropyMarkovModel")
    ways = []
    for f, g, y in ((LOGITS, TRANS, Y), (LOGITS[:, ::-1], TRANS.T, Y[:, ::-1])):
        layer = layers.MaximumEntropyMarkovModel(lr_multiplier=2, bidirectional=False)
        output = layer(np.concatenate([f[:, :1], f[:, 1:] / 2], axis=1))
        layer.weights[0].assign(g / 2)
        ways.append(numpy(layer.sparse_loss(y, output)).mean() / Y.shape[1])
    assert np.mean(ways) == pytest.approx(float(expected["loss"]), rel=1e-4)


def test_memm_halves_its_scores_there_and_takes_the_mean_over_tokens(bert4keras):
    found = theirs(bert4keras, "MaximumEntropyMarkovModel")
    layer, output = ours(layers.MaximumEntropyMarkovModel)
    trans = numpy(layer.trans)
    np.testing.assert_allclose(trans, found["trans"], rtol=1e-6)
    halves = []
    for f, g, y in ((LOGITS, trans, Y), (LOGITS[:, ::-1], trans.T, Y[:, ::-1])):
        history = np.concatenate([f[:, :1], g[y[:, :-1]]], axis=1)
        scores = (f + history) / 2
        norm = np.log(np.exp(scores).sum(-1))
        halves.append((norm - np.take_along_axis(scores, y[..., None], -1)[..., 0]).mean())
    assert float(found["loss"]) == pytest.approx(np.mean(halves), rel=1e-4)
    right = numpy(layer.sparse_loss(Y, output)).mean() / Y.shape[1]
    assert abs(right - float(found["loss"])) > 1e-2
