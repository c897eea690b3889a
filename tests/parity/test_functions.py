"""Losses and the normaliser of attention against bert4keras's functions."""

import numpy as np
import pytest
from keras import ops

from kexue_keras import layers, losses

pytestmark = pytest.mark.parity

RNG = np.random.default_rng(0)
SCORES = (3 * RNG.normal(size=(6, 9))).astype("float32")


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("soft", [False, True])
def test_multilabel_crossentropy(bert4keras, soft):
    labels = RNG.uniform(0.1, 0.9, (6, 9)) if soft else RNG.integers(0, 2, (6, 9))
    arrays = {"y": labels.astype("float32"), "s": SCORES}
    name = "multilabel_categorical_crossentropy"
    found = bert4keras.run("function", arrays, name=name, args=["y", "s"])
    ours = losses.multilabel_categorical_crossentropy(*arrays.values())
    np.testing.assert_allclose(numpy(ours), found["output_0"], rtol=1e-5)


@pytest.mark.parametrize("mask_zero", [False, True])
def test_sparse_multilabel_crossentropy(bert4keras, mask_zero):
    ids = np.array([[1, 3, 8], [1, 2, 4], [5, 7, 6], [7, 4, 2], [2, 1, 3], [8, 6, 4]], "int32")
    if mask_zero:
        ids[1:3, 2], ids[2, 1] = 0, 0
    found = bert4keras.run(
        "function",
        {"y": ids, "s": SCORES},
        name="sparse_multilabel_categorical_crossentropy",
        args=["y", "s"],
        kwargs={"mask_zero": mask_zero},
    )
    ours = losses.sparse_multilabel_categorical_crossentropy(ids, SCORES, mask_zero=mask_zero)
    np.testing.assert_allclose(numpy(ours), found["output_0"], rtol=1e-4)


@pytest.mark.parametrize("visible, equal", [(16, True), (40, True), (4, False)])
def test_entropy_invariant_scale(bert4keras, visible, equal):
    """bert4keras counts at least 16 keys, which the article's formula does not."""
    scores = RNG.normal(size=(2, 3, 5, 40)).astype("float32")
    mask = np.broadcast_to(np.arange(40) < visible, (2, 40))
    found = bert4keras.run(
        "function",
        {"a": scores, "mask": mask.astype("float32")},
        name="attention_normalize",
        args=["a", "mask"],
        kwargs={"method": "softmax_plus"},
    )["output_0"]
    layer = layers.MultiHeadAttention(3, attention_scale="entropy_invariant")
    ours = numpy(layer.normalize(ops.convert_to_tensor(scores), mask[:, None, None]))
    assert np.allclose(ours, found, rtol=1e-4, atol=1e-6) == equal
    if not equal:
        plus = np.exp(scores[..., :visible] * np.log(16) / np.log(512))
        plus /= plus.sum(-1, keepdims=True)
        np.testing.assert_allclose(found[..., :visible], plus, rtol=1e-4)


def test_rotary_positions(bert4keras):
    x = RNG.normal(size=(2, 30, 3, 8)).astype("float32")
    positions = np.tile(np.arange(30, dtype="float32"), (2, 1))
    table = bert4keras.run(
        "function",
        {"pos": positions},
        name="sinusoidal_embeddings",
        args=["pos"],
        kwargs={"dim": 8},
    )["output_0"]
    found = bert4keras.run(
        "function",
        {"table": table, "x": x},
        name="apply_rotary_position_embeddings",
        args=["table", "x"],
    )["output_0"]
    np.testing.assert_allclose(numpy(layers.apply_rotary_positions(x)), found, atol=1e-5)
    distances = layers.relative_positions(30, 30, size=8, max_distance=10)
    np.testing.assert_allclose(numpy(distances)[0, :11], table[0, 10:21], atol=1e-5)
