import keras
import numpy as np
import pytest
from contract import check_config, check_serialization, compile, to_numpy

from kexue_keras import backend, losses
from kexue_keras.losses import cosent

RNG = np.random.default_rng(0)
COSINES = RNG.uniform(-1, 1, 20).astype("float32")
LABELS = {
    "binary": RNG.integers(0, 2, 20),
    "classes": RNG.integers(0, 3, 20),
    "grades": np.round(RNG.uniform(0, 5, 20), 1),
}


def reference(y, c, scale=20.0):
    """All pairs one by one, in float64."""
    c = np.asarray(c, "float64")
    pairs = [(i, k) for i in range(len(y)) for k in range(len(y)) if y[i] > y[k]]
    return np.logaddexp.reduce([0.0] + [scale * (c[k] - c[i]) for i, k in pairs])


def reference_gradient(y, c, scale=20.0):
    c = np.asarray(c, "float64")
    gradient, total = np.zeros(len(c)), reference(y, c, scale)
    for i in range(len(y)):
        for k in range(len(y)):
            if y[i] > y[k]:
                weight = scale * np.exp(scale * (c[k] - c[i]) - total)
                gradient[k] += weight
                gradient[i] -= weight
    return gradient


@pytest.fixture(params=["pairs", "sorted"])
def loss(request, monkeypatch):
    """`cosent_loss` by either of its two ways."""
    if request.param == "sorted":
        monkeypatch.setattr(cosent, "_MAX_PAIRWISE", 0)
    return losses.cosent_loss


def value_and_gradient(loss, labels, cosines, **options):
    variable = keras.Variable(np.asarray(cosines, "float32"))
    function = compile(
        lambda: backend.value_and_grad(
            lambda: loss(labels, variable.value, **options), [variable]
        )(),
        [variable],
    )
    value, (gradient,) = function()
    return float(value), to_numpy(gradient)


@pytest.mark.parametrize("kind", LABELS)
def test_equals_the_double_sum_and_its_gradient(loss, kind):
    labels = LABELS[kind]
    value, gradient = value_and_gradient(loss, labels, COSINES)
    np.testing.assert_allclose(value, reference(labels, COSINES), rtol=1e-5)
    expected = reference_gradient(labels, COSINES)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_both_ways_are_equal_on_a_large_batch_with_ties():
    labels = RNG.integers(0, 6, 300).astype("float32")
    scores = np.round(20 * RNG.uniform(-1, 1, 300), 0).astype("float32")
    by_pairs = to_numpy(cosent._loss_of_pairs(*map(keras.ops.convert_to_tensor, (labels, scores))))
    by_sorting = to_numpy(losses.cosent_loss(labels, scores / 20))
    np.testing.assert_allclose(by_sorting, by_pairs, rtol=1e-5)


def test_scores_that_agree_cost_little_but_not_nothing(loss):
    found = float(loss([0.0, 1.0, 2.0], [-1.0, 0.0, 1.0]))
    np.testing.assert_allclose(found, 2 * np.exp(-20), rtol=1e-4)


def test_invariances(loss):
    labels = LABELS["classes"]
    expected = float(loss(labels, COSINES))
    order = RNG.permutation(20)
    for y, c in (
        (labels, COSINES + 0.5),
        (np.exp(labels) - 7, COSINES),
        (labels[order], COSINES[order]),
        (labels[:, None], COSINES[:, None]),
    ):
        np.testing.assert_allclose(float(loss(y, c)), expected, rtol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 20])
def test_equal_labels_cost_exactly_nothing(loss, n):
    value, gradient = value_and_gradient(loss, np.ones(n), COSINES[:n])
    assert value == 0 and not gradient.any()


def test_large_scores_are_finite(loss):
    scores = np.array([1e4, -1e4, 0, 1e4, -1e4], "float32")
    labels = np.array([0, 1, 1, 2, 0])
    value, gradient = value_and_gradient(loss, labels, scores)
    np.testing.assert_allclose(value, 4e5, rtol=1e-5)
    np.testing.assert_allclose(gradient, [20, -20, 0, 0, 0], atol=1e-4)


def test_compiles_with_xla(monkeypatch):
    monkeypatch.setattr(cosent, "_MAX_PAIRWISE", 0)
    labels, scores = np.array([0, 1, 1, 2], "float32"), COSINES[:4]
    if keras.backend.backend() == "torch":
        with pytest.raises(ValueError, match="must be one of jax, tensorflow here"):
            backend.jit(losses.cosent_loss)
        return
    found = backend.jit(losses.cosent_loss)(*map(keras.ops.convert_to_tensor, (labels, scores)))
    np.testing.assert_allclose(float(found), reference(labels, scores), rtol=1e-5)


@pytest.mark.parametrize("limit, by_sorting", [(256, False), (7, True), (8, False)])
def test_fit_chooses_the_way_by_the_size_of_the_batch(monkeypatch, limit, by_sorting):
    """Also on TensorFlow, where `fit` does not know the size beforehand."""
    monkeypatch.setattr(cosent, "_MAX_PAIRWISE", limit)
    monkeypatch.setattr(
        cosent, "_loss_of_sorted", lambda labels, scores: float("nan") * keras.ops.sum(scores)
    )
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", losses.CoSENT(), jit_compile=backend.train_with_xla())
    x, y = RNG.normal(size=(20, 4)).astype("float32"), LABELS["grades"]
    loss = model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history["loss"]
    assert np.isnan(loss).all() == by_sorting


def test_both_ways_in_a_graph_of_unknown_batch_size():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow has unknown sizes")
    import tensorflow as tf

    signature = [tf.TensorSpec((None,)), tf.TensorSpec((None,))]
    weights = RNG.normal(size=300).astype("float32")

    @tf.function(input_signature=signature)
    def value_and_gradient(labels, scores):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = losses.cosent_loss(labels, scores)
        return value, tape.gradient(value, scores)

    for n in (20, 300):
        labels, scores = np.round(3 * weights[:n]), np.tanh(weights[:n] ** 2)
        value, gradient = value_and_gradient(labels, scores)
        np.testing.assert_allclose(float(value), reference(labels, scores), rtol=1e-4)
        expected = reference_gradient(labels, scores)
        np.testing.assert_allclose(to_numpy(gradient), expected, rtol=1e-3, atol=1e-5)


def test_scale(loss):
    for scale in (1.0, 5):
        found = float(loss(LABELS["grades"], COSINES, scale=scale))
        np.testing.assert_allclose(found, reference(LABELS["grades"], COSINES, scale), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_summed_in_float32(loss, dtype):
    cosines = keras.ops.cast(COSINES, dtype)
    found = loss(LABELS["binary"], cosines)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    exact = to_numpy(keras.ops.cast(cosines, "float32"))
    np.testing.assert_allclose(float(found), reference(LABELS["binary"], exact), rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_model_in_mixed_precision_trains(policy):
    if keras.backend.backend() == "torch":
        policy = "mixed_bfloat16"  # float16 products are not implemented on every CPU
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(1, activation="tanh", dtype=policy)
    model = keras.Sequential([keras.Input((4,)), dense])
    model.compile(keras.optimizers.Adam(0.05), losses.CoSENT())
    x = RNG.normal(size=(20, 4)).astype("float32")
    history = model.fit(x, LABELS["grades"], epochs=6, verbose=0, batch_size=20).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]


def test_errors():
    with pytest.raises(ValueError, match="same number.*Received: 3 labels, 4 scores"):
        losses.cosent_loss(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match=r"`sample_weight`.*Received: .* shape \(2,\)"):
        losses.CoSENT()(np.zeros(2), np.zeros(2), [1.0, 1.0])
    with pytest.raises(ValueError, match="`scale` must be positive. Received: 0"):
        losses.CoSENT(scale=0)


def test_class_compiles_reloads_and_trains_with_a_smaller_last_batch(tmp_path):
    loss = losses.CoSENT(scale=10.0)
    check_config(loss)
    assert check_serialization(loss).scale == 10
    first, second = keras.Input((4,)), keras.Input((4,))
    dense = keras.layers.Dense(3)
    cosines = keras.layers.Dot(-1, normalize=True)([dense(first), dense(second)])
    model = keras.Model([first, second], cosines)
    model.compile(keras.optimizers.Adam(0.05), loss, jit_compile=backend.train_with_xla())
    x = list(RNG.normal(size=(2, 20, 4)).astype("float32"))
    y = LABELS["classes"]
    expected = reference(y, to_numpy(model(x))[:, 0], 10)
    np.testing.assert_allclose(model.test_on_batch(x, y), expected, rtol=1e-4)
    history = model.fit(x, y, epochs=6, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert reloaded.loss.scale == 10
    expected = reference(y, to_numpy(model(x))[:, 0], 10)
    np.testing.assert_allclose(reloaded.test_on_batch(x, y), expected, rtol=1e-4)
