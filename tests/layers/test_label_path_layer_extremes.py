"""CRF and MEMM with huge, forbidden and rounded scores."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from label_paths import (
    LABELS,
    LENGTH,
    LOGITS,
    MAKE,
    MASK,
    RNG,
    TRANS,
    Y,
    built,
    each,
    log_probability,
    numpy,
)

from kexue_keras import backend


@each
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_huge_scores_have_finite_losses_and_gradients(kind, scale):
    layer = built(kind, TRANS * abs(scale))
    logits = LOGITS * scale

    def loss_of_layer():
        return ops.mean(layer.sparse_loss(Y, layer(logits, mask=MASK)))

    loss, gradients = backend.value_and_grad(loss_of_layer, layer.trainable_variables)()
    assert np.isfinite(numpy(loss))
    assert all(np.isfinite(numpy(g)).all() for g in gradients)


@each
def test_minus_infinity_forbids_and_huge_scores_have_finite_gradients(kind):
    layer = built(kind)
    hidden = np.where(MASK[..., None], LOGITS, -np.inf).astype("float32")  # bert4keras's mask
    expected = numpy(layer.sparse_loss(Y, layer(LOGITS, mask=MASK)))
    np.testing.assert_allclose(numpy(layer.sparse_loss(Y, layer(hidden))), expected, rtol=1e-6)
    np.testing.assert_allclose(numpy(layer.sparse_loss(Y, hidden)), expected, rtol=1e-6)
    forbidden = LOGITS.copy()
    forbidden[0, 1, (Y[0, 1] + 1) % LABELS] = -np.inf
    found = numpy(layer.sparse_loss(Y, layer(forbidden, mask=MASK)))
    without = np.where(np.isinf(forbidden), -1e9, forbidden)[0]
    assert found[0] == pytest.approx(-log_probability(kind, without, TRANS, Y[0]), rel=1e-5)
    for scores in (hidden, forbidden, LOGITS * 1e4, LOGITS * -1e4):
        variable = keras.Variable(scores)

        def objective(variable=variable):
            return ops.sum(layer.sparse_loss(Y, layer(variable.value, mask=MASK)))

        value, gradients = backend.value_and_grad(
            objective, [variable, *layer.trainable_variables]
        )()
        assert np.isfinite(numpy(value))
        assert all(np.isfinite(numpy(g)).all() for g in gradients)


@each
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_low_precision_scores_are_computed_in_float32(kind, policy):
    low = keras.DTypePolicy(policy).compute_dtype
    layer, exact = built(kind, dtype=policy), built(kind)
    scores = ops.cast(LOGITS, low)
    rounded = numpy(ops.cast(scores, "float32"))
    output = layer(scores, mask=MASK)
    assert keras.backend.standardize_dtype(output.dtype) == "float32"
    assert keras.backend.standardize_dtype(layer.weights[0].dtype) == "float32"
    found = numpy(layer.sparse_loss(Y, output))
    expected = numpy(exact.sparse_loss(Y, exact(rounded, mask=MASK)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(layer.decode(output), exact.decode(rounded, MASK))


@pytest.mark.parametrize("kind, policy", [("crf", "mixed_float16"), ("bi-memm", "mixed_bfloat16")])
def test_a_model_in_mixed_precision_trains(kind, policy):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((LENGTH, 4))
    layer = MAKE[kind](dtype=policy)
    model = keras.Model(inputs, layer(keras.layers.Dense(LABELS, dtype=policy)(inputs)))
    model.compile(keras.optimizers.Adam(0.1), layer.sparse_loss)
    x = RNG.normal(size=(4, LENGTH, 4)).astype("float32")
    losses = model.fit(x, Y, epochs=8, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


@each
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_scores_in_float32_stay_so_in_mixed_precision(kind, policy):
    layer, exact = built(kind, dtype=policy), built(kind)
    scores = LOGITS * 3e4 + 1000.3
    assert np.abs(scores).max() > 65504
    for mask in (None, MASK):
        output, expected = layer(scores, mask=mask), exact(scores, mask=mask)
        np.testing.assert_array_equal(numpy(output), numpy(expected))
        loss = numpy(layer.sparse_loss(Y, output))
        np.testing.assert_array_equal(loss, numpy(exact.sparse_loss(Y, expected)))
        assert np.isfinite(loss).all()


@each
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_extreme_scores_in_half_precision(kind, dtype):
    scores = np.where(RNG.uniform(size=LOGITS.shape) < 0.2, -np.inf, LOGITS * 1e4)
    scores[..., 0] = 1e4
    variable, layer = keras.Variable(scores.astype("float32")), built(kind)
    objective = backend.value_and_grad(
        lambda: ops.sum(
            layer.sparse_loss(Y * 0, layer(ops.cast(variable.value, dtype), mask=MASK))
        ),
        [variable, layer.weights[0]],
    )
    value, gradients = objective()
    assert np.isfinite(float(value)) and all(np.isfinite(numpy(g)).all() for g in gradients)


@each
def test_logits_that_are_not_numbers_are_seen(kind):
    layer = built(kind)
    logits = np.zeros((1, 4, LABELS), "float32")
    logits[0, 2] = np.nan
    loss = layer.sparse_loss(np.zeros((1, 4), "int32"), layer(logits))
    assert np.isnan(numpy(loss)).all()


@each
def test_a_forbidden_transition(kind):
    pairs, trans = set(itertools.pairwise(Y[0].tolist())), TRANS.copy()
    forbidden = next(p for p in itertools.product(range(LABELS), repeat=2) if p not in pairs)
    trans[forbidden] = -np.inf
    layer = built(kind, trans)
    found = numpy(layer.sparse_loss(Y[:1], layer(LOGITS[:1])))[0]
    finite = np.where(np.isinf(trans), -1e9, trans)
    assert found == pytest.approx(-log_probability(kind, LOGITS[0], finite, Y[0]), rel=1e-5)
