import keras
import numpy as np
import pytest
from contract import check_config, check_serialization, compile, to_numpy

from kexue_keras import backend, losses

dense_loss = losses.multilabel_categorical_crossentropy
sparse_loss = losses.sparse_multilabel_categorical_crossentropy
pairwise_loss = losses.log_sum_exp_pairwise_loss
RNG = np.random.default_rng(0)
SCORES = (3 * RNG.normal(size=(6, 9))).astype("float32")
LABELS = RNG.integers(0, 2, (6, 9))


def reference(t, s):
    t, s = np.asarray(t, "float64"), np.asarray(s, "float64")
    positive, negative = (t * np.exp(-s)).sum(-1), ((1 - t) * np.exp(s)).sum(-1)
    return np.log(1 + positive) + np.log(1 + negative)


def value_and_gradient(function, scores):
    variable = keras.Variable(np.asarray(scores, "float32"))
    objective = backend.value_and_grad(lambda: keras.ops.sum(function(variable.value)), [variable])
    value, (gradient,) = compile(objective, [variable])()
    return float(value), to_numpy(gradient)


@pytest.mark.parametrize("dtype", ["int32", "bool", "float32"])
def test_equals_the_formula(dtype):
    found = to_numpy(dense_loss(LABELS.astype(dtype), SCORES))
    np.testing.assert_allclose(found, reference(LABELS, SCORES), rtol=1e-5)


def test_soft_labels_equal_the_formula_and_its_gradient():
    soft = RNG.uniform(size=SCORES.shape).astype("float32")
    soft[0, :3] = 0, 1, 0.5
    value, gradient = value_and_gradient(lambda s: dense_loss(soft, s), SCORES)
    np.testing.assert_allclose(value, reference(soft, SCORES).sum(), rtol=1e-5)
    positive, negative = soft * np.exp(-SCORES), (1 - soft) * np.exp(SCORES)
    expected = negative / (1 + negative.sum(-1, keepdims=True))
    expected -= positive / (1 + positive.sum(-1, keepdims=True))
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_product_of_the_two_sums():
    """log(1 + sum_neg + sum_pos + sum of both), the last the pairs of a positive and a negative."""
    expected = []
    for t, s in zip(LABELS, SCORES.astype("float64"), strict=True):
        pairs = sum(np.exp(a - b) for a in s[t == 0] for b in s[t == 1])
        expected.append(np.log(1 + np.exp(s[t == 0]).sum() + np.exp(-s[t == 1]).sum() + pairs))
    np.testing.assert_allclose(to_numpy(dense_loss(LABELS, SCORES)), expected, rtol=1e-5)


def test_one_positive_class_without_threshold_is_softmax_crossentropy():
    """The terms that compare with the threshold taken away from the sum."""
    scores = RNG.normal(size=(6, 5)).astype("float32")
    target = np.arange(6) % 5
    labels = np.eye(5)[target]
    total = np.exp(to_numpy(dense_loss(labels, scores)).astype("float64"))
    thresholds = ((1 - labels) * np.exp(scores)).sum(-1) + (labels * np.exp(-scores)).sum(-1)
    logits = np.exp(scores)
    expected = -np.log(logits[np.arange(6), target] / logits.sum(-1))
    np.testing.assert_allclose(np.log(total - thresholds), expected, atol=1e-5)


def test_an_empty_set_costs_nothing():
    for label, sign in ((0, 1), (1, -1)):
        expected = np.log(1 + np.exp(sign * SCORES.astype("float64")).sum(-1))
        found = to_numpy(dense_loss(np.full_like(LABELS, label), SCORES))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_optimum_for_soft_labels_is_sigmoid_of_twice_the_score():
    t = np.array([[0.1, 0.35, 0.5, 0.8, 0.97]], "float32")
    scores = keras.Variable(np.zeros_like(t))
    step = compile(
        lambda: backend.value_and_grad(
            lambda: keras.ops.sum(dense_loss(t, scores.value)), [scores]
        )()[1],
        [scores],
    )
    for _ in range(300):
        scores.assign(scores.value - 1.5 * step()[0])
    probabilities = 1 / (1 + np.exp(-2 * to_numpy(scores.value)))
    np.testing.assert_allclose(probabilities, t, atol=1e-3)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_large_scores_and_masked_classes_are_finite(size):
    scores = np.array([[size, -size, -np.inf, 0.5], [size, -size, -np.inf, 0.5]])
    labels = np.array([[1, 0, 0, 1], [0, 1, 1, 0]])
    for function in (
        lambda s: dense_loss(labels, s),
        lambda s: dense_loss(np.clip(labels, 0.25, 0.75), s),
        lambda s: sparse_loss(np.array([[0, 3], [1, 2]]), s),
    ):
        value, gradient = value_and_gradient(function, scores)
        assert np.isfinite(value) and np.isfinite(gradient).all()
        assert not gradient[:, 2].any()
    found = to_numpy(dense_loss(labels, scores.astype("float32")))
    np.testing.assert_allclose(found, [np.log(1 + np.exp(-0.5)), 2 * size], rtol=1e-5)


def test_tiny_losses_do_not_vanish():
    found = to_numpy(dense_loss([[1, 0]], np.array([[22, -22]], "float32")))
    np.testing.assert_allclose(found, 2 * np.exp(-22), rtol=1e-5)


def test_sparse_equals_dense():
    ids = np.array([[0, 3, 8], [1, 1, 2], [5, 4, 5], [7, 7, 7], [2, 1, 0], [8, 6, 4]])
    labels = np.zeros_like(LABELS)
    np.put_along_axis(labels, ids, 1, -1)
    expected = reference(labels, SCORES)
    for dtype in ("int32", "float32"):
        found = to_numpy(sparse_loss(ids.astype(dtype), SCORES))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    found = sparse_loss(ids.reshape(2, 3, 3), SCORES.reshape(2, 3, 9))
    np.testing.assert_allclose(to_numpy(found), expected.reshape(2, 3), rtol=1e-5)
    of_dense = value_and_gradient(lambda s: dense_loss(labels, s), SCORES)[1]
    of_sparse = value_and_gradient(lambda s: sparse_loss(ids, s), SCORES)[1]
    np.testing.assert_allclose(of_sparse, of_dense, atol=1e-6)


def test_ids_of_no_class_do_not_count():
    scores = RNG.normal(size=(3, 4)).astype("float32")
    ids = np.array([[2, 4, -1], [-1, 0, 3], [7, -3, -1]])
    dense = np.array([[0, 0, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]])
    found = losses.sparse_multilabel_categorical_crossentropy(ids, scores)
    np.testing.assert_allclose(to_numpy(found), reference(dense, scores), rtol=1e-5)


def test_scores_that_are_not_numbers_are_seen():
    for scores in ([[np.nan, np.nan]], [[np.nan, 1.0]]):
        loss = losses.multilabel_categorical_crossentropy([[1.0, 0.0]], np.array(scores, "float32"))
        assert np.isnan(to_numpy(loss)).all()
        loss = losses.combinatorial_softmax_crossentropy(
            np.array([[1.0, 0.0]]), np.array(scores, "float32"), k=1
        )
        assert np.isnan(to_numpy(loss)).all()


def test_mask_zero_leaves_class_0_out():
    ids = np.array([[1, 3, 8], [1, 0, 0], [0, 0, 0], [7, 0, 2], [2, 1, 0], [8, 6, 4]])
    labels = np.zeros_like(LABELS)
    np.put_along_axis(labels, ids, 1, -1)
    found = to_numpy(sparse_loss(ids, SCORES, mask_zero=True))
    np.testing.assert_allclose(found, reference(labels[:, 1:], SCORES[:, 1:]), rtol=1e-5)
    _, gradient = value_and_gradient(lambda s: sparse_loss(ids, s, mask_zero=True), SCORES)
    assert not gradient[:, 0].any() and gradient[:, 1:].all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_scores_are_summed_in_float32(dtype):
    scores = keras.ops.cast(SCORES, dtype)
    exact = to_numpy(keras.ops.cast(scores, "float32"))
    for found in (dense_loss(LABELS, scores), sparse_loss(np.array([[0, 3]] * 6), scores)):
        assert keras.backend.standardize_dtype(found.dtype) == "float32"
    found = to_numpy(dense_loss(LABELS, scores))
    np.testing.assert_allclose(found, reference(LABELS, exact), rtol=1e-5)
    extreme = np.array([[1e4, -1e4, -np.inf, 0.5]])
    for function in (
        lambda s: dense_loss([[0, 1, 1, 0]], s),
        lambda s: pairwise_loss([[0, 1, 1, 0]], s, 4.0),
        lambda s: sparse_loss([[1, 2]], s),
    ):
        value, gradient = value_and_gradient(
            lambda s, f=function: f(keras.ops.cast(s, dtype)), extreme
        )
        assert value > 1e4 and np.isfinite([value, *gradient[0]]).all() and gradient[0, 2] == 0
    two = np.zeros_like(LABELS)
    two[:, [0, 3]] = 1
    found = to_numpy(sparse_loss(np.array([[0, 3]] * 6), scores))
    np.testing.assert_allclose(found, reference(two, exact), rtol=1e-5)
    through_cast = value_and_gradient(
        lambda s: dense_loss(LABELS, keras.ops.cast(s, dtype)), exact
    )[1]
    gradient = value_and_gradient(lambda s: dense_loss(LABELS, s), exact)[1]
    np.testing.assert_allclose(through_cast, gradient, rtol=1e-2, atol=1e-3)


def test_another_threshold_is_a_shift_of_all_scores():
    s0, s = 0.7, SCORES.astype("float64")
    negative = np.log(np.exp(s0) + ((1 - LABELS) * np.exp(s)).sum(-1))
    positive = np.log(np.exp(-s0) + (LABELS * np.exp(-s)).sum(-1))
    found = to_numpy(dense_loss(LABELS, SCORES - np.float32(s0)))
    np.testing.assert_allclose(found, negative + positive, rtol=1e-5)


def test_it_is_at_most_the_sum_of_binary_crossentropies():
    binary = np.log1p(np.exp(np.where(LABELS, -1, 1) * SCORES.astype("float64"))).sum(-1)
    assert (to_numpy(dense_loss(LABELS, SCORES)) <= binary + 1e-5).all()
    scores, labels = SCORES[:, :2], np.array([[1, 0]] * 6)
    binary = np.log1p(np.exp(np.array([-1, 1]) * scores.astype("float64"))).sum(-1)
    np.testing.assert_allclose(to_numpy(dense_loss(labels, scores)), binary, rtol=1e-5)


def test_mask_zero_with_huge_scores():
    ids = np.array([[1, 3], [2, 0], [0, 0]])
    for size in (1e4, -1e4):
        scores = np.array([[size, -size, 1, size]] * 3)
        value, gradient = value_and_gradient(lambda s: sparse_loss(ids, s, mask_zero=True), scores)
        assert np.isfinite(value) and np.isfinite(gradient).all() and not gradient[:, 0].any()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_model_in_mixed_precision_trains(policy, sparse):
    if keras.backend.backend() == "torch":
        policy = "mixed_bfloat16"  # float16 products are not implemented on every CPU
    loss = (
        losses.SparseMultilabelCategoricalCrossentropy()
        if sparse
        else losses.MultilabelCategoricalCrossentropy()
    )
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(9, dtype=policy)])
    model.compile(keras.optimizers.Adam(0.05), loss)
    x = RNG.normal(size=(6, 4)).astype("float32")
    y = np.array([[0, 3]] * 6) if sparse else LABELS
    history = model.fit(x, y, epochs=6, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]


@pytest.mark.parametrize("scale, margin", [(1.0, 0.0), (3.0, 0.25)])
def test_pairwise_equals_the_double_sum(scale, margin):
    for labels in (LABELS, RNG.uniform(size=LABELS.shape).astype("float32")):
        t, s = labels.astype("float64")[:, None], SCORES.astype("float64")[:, None]
        pairs = np.exp(scale * (np.swapaxes(s, 1, 2) - s + margin))
        expected = np.log1p((pairs * (1 - np.swapaxes(t, 1, 2)) * t).sum((1, 2)))
        found = to_numpy(pairwise_loss(labels, SCORES, scale, margin))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_pairwise_with_one_label_is_softmax_crossentropy():
    labels = np.eye(9, dtype="float32")[:6]
    expected = keras.ops.categorical_crossentropy(labels, SCORES, from_logits=True)
    np.testing.assert_allclose(to_numpy(pairwise_loss(labels, SCORES)), expected, rtol=1e-5)
    shifted = to_numpy(pairwise_loss(LABELS, SCORES + 5))
    np.testing.assert_allclose(shifted, to_numpy(pairwise_loss(LABELS, SCORES)), rtol=1e-5)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_pairwise_of_large_scores_masked_classes_and_equal_labels_is_finite(size):
    scores = np.array([[size, -size, -np.inf, 0.5]] * 4)
    labels = np.array([[1, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 0], [1, 1, 0, 1]])
    value, gradient = value_and_gradient(lambda s: pairwise_loss(labels, s, 8.0, 0.1), scores)
    assert np.isfinite(value) and np.isfinite(gradient).all() and not gradient[:, 2].any()
    found = to_numpy(pairwise_loss(labels, scores.astype("float32")))
    np.testing.assert_allclose(found, [0, 2 * size, 0, 0], rtol=1e-5)


def test_errors():
    with pytest.raises(ValueError, match="`scale` must be positive. Received: 0"):
        pairwise_loss(LABELS, SCORES, scale=0)
    with pytest.raises(ValueError, match=r"`y_true` must have the shape .*y_true.shape=\(2, 3\)"):
        pairwise_loss(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"`y_true` must have the shape .*y_true.shape=\(2, 3\)"):
        dense_loss(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"`y_true` must have the shape .* last axis.*\(2,\)"):
        sparse_loss(np.ones(2), np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"y_true.shape=\(1, 2\), y_pred.shape=\(4, 5\)"):
        sparse_loss([[0, 3]], np.zeros((4, 5)))
    with pytest.raises(ValueError, match="`scale` must be positive. Received: -1"):
        losses.LogSumExpPairwise(scale=-1)


@pytest.mark.parametrize("sparse", [False, True])
def test_class_compiles_reloads_and_trains(sparse, tmp_path):
    if sparse:
        loss = losses.SparseMultilabelCategoricalCrossentropy(mask_zero=True)
        y = np.array([[1, 3], [2, 0], [0, 0], [4, 4], [1, 2]], "int32")
        labels = np.zeros((5, 5))
        np.put_along_axis(labels, y, 1, -1)
    else:
        loss = losses.MultilabelCategoricalCrossentropy()
        y = labels = RNG.uniform(size=(5, 5)).astype("float32")
    check_config(loss)
    check_serialization(loss)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    model.compile("adam", loss, jit_compile=backend.train_with_xla())
    x = RNG.normal(size=(5, 3)).astype("float32")
    scores = to_numpy(model(x))
    used = slice(1, None) if sparse else slice(None)
    expected = reference(labels[:, used], scores[:, used]).mean()
    np.testing.assert_allclose(model.evaluate(x, y, batch_size=2, verbose=0), expected, rtol=1e-5)
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(reloaded.loss) is type(loss)
    expected = reference(labels[:, used], to_numpy(model(x))[:, used]).mean()
    np.testing.assert_allclose(reloaded.test_on_batch(x, y), expected, rtol=1e-5)
    assert len(reloaded.optimizer.variables) == len(model.optimizer.variables)


def test_pairwise_class_serializes_and_trains():
    loss = losses.LogSumExpPairwise(scale=2.0, margin=0.5)
    check_config(loss)
    check_serialization(loss)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(9)])
    model.compile("adam", loss, jit_compile=backend.train_with_xla())
    x = RNG.normal(size=(6, 3)).astype("float32")
    expected = to_numpy(pairwise_loss(LABELS, to_numpy(model(x)), 2.0, 0.5)).mean()
    np.testing.assert_allclose(model.evaluate(x, LABELS, verbose=0), expected, rtol=1e-5)
    history = model.fit(x, LABELS, epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0]
