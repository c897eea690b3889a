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


def theirs(bert4keras, name):
    arrays = {"logits": LOGITS, "trans": TRANS, "y": Y}
    return bert4keras.run("label_layer", arrays, name=name, lr_multiplier=2)


def test_crf(bert4keras):
    found = theirs(bert4keras, "ConditionalRandomField")
    layer, output = ours(layers.ConditionalRandomField)
    np.testing.assert_allclose(numpy(layer.trans), found["trans"], rtol=1e-6)
    np.testing.assert_allclose(numpy(layer.sparse_loss(Y, output)), found["loss"], rtol=1e-4)
    accuracy = numpy(layer.sparse_accuracy(Y, output))
    assert accuracy == pytest.approx(float(found["accuracy"]), abs=1e-6)
    path = layer.decode(LOGITS[:1])[0]
    np.testing.assert_array_equal(path, found["path"])


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
