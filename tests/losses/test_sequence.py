import keras
import numpy as np
import pytest
from contract import check_config, check_serialization, to_numpy

from kexue_keras import backend, losses, models

TOKEN_IDS = np.array([[2, 7, 3, 9, 8, 3, 0], [2, 5, 6, 3, 4, 3, 0], [2, 3, 0, 0, 0, 0, 0]], "int32")
MASK = np.array([[0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1, 0], [0] * 7], "int32")


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def reference(token_ids, mask, logits):
    """Token by token, in float64."""
    values, weights = [], []
    for row, (ids, visible) in enumerate(zip(token_ids, mask, strict=True)):
        for place in range(1, len(ids)):
            if visible[place]:
                x = logits[row, place - 1].astype("float64")
                values.append(np.log(np.exp(x - x.max()).sum()) + x.max() - x[ids[place]])
                weights.append(float(visible[place]))
    return np.average(values, weights=weights) if values else 0.0


@pytest.mark.parametrize("dtype", ["int32", "bool", "float32"])
def test_equals_the_formula(dtype):
    logits = 5 * normal(3, 7, 11)
    found = losses.sequence_crossentropy(TOKEN_IDS, MASK.astype(dtype), logits)
    assert found.shape == ()
    np.testing.assert_allclose(to_numpy(found), reference(TOKEN_IDS, MASK, logits), rtol=1e-5)


def test_a_target_in_the_first_column_does_not_count():
    logits = normal(3, 7, 11)
    more = MASK.copy()
    more[:, 0] = 1
    first = losses.sequence_crossentropy(TOKEN_IDS, MASK, logits)
    assert float(losses.sequence_crossentropy(TOKEN_IDS, more, logits)) == float(first)


def test_fractional_masks_are_weights():
    logits = normal(3, 7, 11)
    weights = MASK * np.linspace(0.25, 2, 7, dtype="float32")
    found = losses.sequence_crossentropy(TOKEN_IDS, weights, logits)
    np.testing.assert_allclose(to_numpy(found), reference(TOKEN_IDS, weights, logits), rtol=1e-5)


def test_an_empty_mask_costs_nothing_and_has_finite_gradients():
    logits = keras.Variable(normal(3, 7, 11))
    value, (gradient,) = backend.value_and_grad(
        lambda: losses.sequence_crossentropy(TOKEN_IDS, 0 * MASK, logits.value), [logits]
    )()
    assert float(value) == 0
    np.testing.assert_array_equal(to_numpy(gradient), 0)


@pytest.mark.parametrize("filler", [-1e30, -np.inf, np.inf, np.nan])
def test_anything_may_stand_where_the_mask_is_0(filler):
    logits = normal(3, 7, 11)
    expected = reference(TOKEN_IDS, MASK, logits)
    predicts = np.zeros_like(MASK, bool)
    predicts[:, :-1] = MASK[:, 1:] > 0
    broken = keras.Variable(np.where(predicts[..., None], logits, filler).astype("float32"))
    value, (gradient,) = backend.value_and_grad(
        lambda: losses.sequence_crossentropy(TOKEN_IDS, MASK, broken.value), [broken]
    )()
    np.testing.assert_allclose(to_numpy(value), expected, rtol=1e-5)
    gradient = to_numpy(gradient)
    assert np.isfinite(gradient).all()
    assert not gradient[~predicts].any()


def test_forbidden_tokens_stay_finite():
    """A constraint puts -1e30 or -inf on tokens other than the target."""
    for value in (-1e30, -np.inf):
        logits = normal(3, 7, 11)
        logits[..., 10] = value
        variable = keras.Variable(logits)
        found, (gradient,) = backend.value_and_grad(
            lambda v=variable: losses.sequence_crossentropy(TOKEN_IDS, MASK, v.value), [variable]
        )()
        np.testing.assert_allclose(to_numpy(found), reference(TOKEN_IDS, MASK, logits), rtol=1e-5)
        assert np.isfinite(to_numpy(gradient)).all() and not to_numpy(gradient)[..., 10].any()


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_have_finite_losses_and_gradients(size):
    logits = keras.Variable(size * normal(3, 7, 11))
    found, (gradient,) = backend.value_and_grad(
        lambda: losses.sequence_crossentropy(TOKEN_IDS, MASK, logits.value), [logits]
    )()
    expected = reference(TOKEN_IDS, MASK, to_numpy(logits.value))
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5)
    assert np.isfinite(to_numpy(gradient)).all() and to_numpy(gradient).any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_logits_are_summed_in_float32(dtype):
    logits = keras.ops.cast(8 * normal(3, 7, 11), dtype)
    found = losses.sequence_crossentropy(TOKEN_IDS, MASK, logits)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    exact = to_numpy(keras.ops.cast(logits, "float32"))
    np.testing.assert_allclose(to_numpy(found), reference(TOKEN_IDS, MASK, exact), rtol=1e-5)


def test_gradient_is_softmax_minus_target():
    logits = keras.Variable(normal(3, 7, 11))
    _, (gradient,) = backend.value_and_grad(
        lambda: losses.sequence_crossentropy(TOKEN_IDS, MASK, logits.value), [logits]
    )()
    x = to_numpy(logits.value).astype("float64")
    expected = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    expected[:, :-1] -= np.eye(11)[TOKEN_IDS[:, 1:]]
    expected[:, :-1] *= MASK[:, 1:, None] / MASK.sum()
    expected[:, -1] = 0
    np.testing.assert_allclose(to_numpy(gradient), expected, atol=1e-6)


def test_class_equals_the_formula_and_is_registered():
    loss = losses.SequenceCrossentropy(ignore_id=9)
    check_config(loss)
    assert check_serialization(loss).ignore_id == 9
    labels = np.array([[5, 9, 1], [0, 9, 9]])
    logits = normal(2, 3, 11)
    log = np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    expected = -np.mean([log[0, 0, 5], log[0, 2, 1], log[1, 0, 0]])
    np.testing.assert_allclose(to_numpy(loss(labels, logits)), expected, rtol=1e-5)
    assert float(loss(np.full((2, 3), 9), logits)) == 0


def test_class_weighs_texts_and_divides_by_all_tokens():
    """Negative weights too; ones change no bit, and padding counts neither above nor below."""
    loss = losses.SequenceCrossentropy()
    labels = np.array([[5, 2, 0], [1, 0, 0], [3, 4, 6]])
    logits = normal(3, 3, 11)
    log = np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    weights = np.array([2.0, -0.5, 0.0])
    texts = [log[0, 0, 5] + log[0, 1, 2], log[1, 0, 1], log[2, range(3), [3, 4, 6]].sum()]
    expected = -np.dot(weights, texts) / 6
    np.testing.assert_allclose(to_numpy(loss(labels, logits, weights)), expected, rtol=1e-5)
    assert float(loss(labels, logits, np.ones(3))) == float(loss(labels, logits))


@pytest.mark.parametrize("shape", [(2, 3), (2, 1), ()])
def test_class_refuses_weights_of_tokens(shape):
    message = r"`sample_weight` must be of the shape \(batch,\).*Received"
    with pytest.raises(ValueError, match=message):
        losses.SequenceCrossentropy()(np.ones((2, 3)), normal(2, 3, 4), np.ones(shape))


def targets_of(token_ids, mask):
    """Positions before each target and the targets themselves, filled up with 0."""
    rows = [np.flatnonzero(row[1:]) for row in mask]
    width = max(map(len, rows))
    positions, labels = (np.zeros((len(rows), width), "int32") for _ in range(2))
    for i, row in enumerate(rows):
        positions[i, : len(row)] = row
        labels[i, : len(row)] = token_ids[i, row + 1]
    return positions, labels


@pytest.fixture(scope="module")
def pair():
    """The same UniLM with logits everywhere and at the targets only."""
    options = dict(vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    options |= dict(intermediate_size=12, max_position=8, application="unilm", with_mlm="linear")
    full, gathered = models.Bert(**options), models.Bert(**options, target_positions=True)
    generator = np.random.default_rng(0)
    for variable in full.weights:
        variable.assign(generator.normal(0, 0.5, variable.shape))
    gathered.set_weights(full.get_weights())
    gathered.compile("sgd", losses.SequenceCrossentropy())
    return full, gathered


def test_compiled_class_equals_the_function_on_all_logits(pair):
    full, gathered = pair
    positions, labels = targets_of(TOKEN_IDS, MASK)
    expected = losses.sequence_crossentropy(TOKEN_IDS, MASK, full([TOKEN_IDS, MASK]))
    found = gathered.test_on_batch([TOKEN_IDS, MASK, positions], labels)
    np.testing.assert_allclose(found, to_numpy(expected), rtol=1e-5)


def test_compiled_class_reloads_and_goes_on_training(pair, tmp_path):
    _, gathered = pair
    positions, labels = targets_of(TOKEN_IDS, MASK)
    inputs = [TOKEN_IDS, MASK, positions]
    path = tmp_path / "model.keras"
    gathered.save(path)
    reloaded = keras.saving.load_model(path)
    assert isinstance(reloaded.loss, losses.SequenceCrossentropy)
    expected = gathered.test_on_batch(inputs, labels)
    np.testing.assert_allclose(reloaded.test_on_batch(inputs, labels), expected, rtol=1e-5)
    assert reloaded.train_on_batch(inputs, labels) > reloaded.test_on_batch(inputs, labels)
