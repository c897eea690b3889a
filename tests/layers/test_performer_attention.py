"""Performer: its features and sums, which do not depend on chunks, padding or the future."""

import warnings

import contract
import keras
import numpy as np
import pytest
from contract import assert_close, to_numpy
from scipy import stats

from kexue_keras import backend
from kexue_keras.layers import MultiHeadAttention, PerformerAttention
from kexue_keras.layers.performer_attention import orthogonal_features

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def attend(layer, *inputs):
    """`layer.attend`, as one program on JAX."""
    return contract.compile(lambda *x: layer.attend(*x), layer.variables)(*inputs)


def quadratic(layer, q, k, v, visible):
    """The same features, all pairs at once, in float64; visible `(batch, queries, keys)`."""
    w = to_numpy(layer.projection).astype("float64")
    q, k = (x.astype("float64") * q.shape[-1] ** -0.25 for x in (q, k))

    def exponents(x):
        return x @ w.T - (x**2).sum(-1, keepdims=True) / 2

    a, b = exponents(q), exponents(k)
    logs = a[..., :, None, :] + b[..., None, :, :]
    largest = logs.max((-2, -1), keepdims=True)
    weights = np.exp(logs - largest).sum(-1) * visible[:, None]
    return weights / weights.sum(-1, keepdims=True) @ v.astype("float64")


@pytest.mark.parametrize("causal, chunk", [(False, 256), (True, 1), (True, 4), (True, 256)])
def test_linear_sums_equal_the_quadratic_form(causal, chunk):
    layer = PerformerAttention(2, num_features=12, causal=causal, chunk=chunk, seed=1)
    layer(normal(1, 3, 8))
    q, k, v = (normal(3, 2, 9, 4) for _ in range(3))
    mask = np.arange(9) < np.array([9, 6, 1])[:, None]
    visible = np.broadcast_to(mask[:, None], (3, 9, 9))
    if causal:
        visible = visible & np.tril(np.ones((9, 9), bool))
    found = to_numpy(attend(layer, q, k, v, mask))
    expected = quadratic(layer, q, k, v, visible)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    found = to_numpy(attend(layer, q / 2, k / 2, v, mask))
    np.testing.assert_allclose(found, quadratic(layer, q / 2, k / 2, v, visible), atol=2e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_are_those_of_the_quadratic_form(causal):
    layer = PerformerAttention(1, num_features=6, causal=causal, chunk=2, seed=1)
    layer(normal(1, 3, 4))
    q, k, v, w = (normal(1, 1, 5, 4) for _ in range(4))
    visible = np.tril(np.ones((1, 5, 5), bool)) if causal else np.ones((1, 5, 5), bool)
    variables = [keras.Variable(x) for x in (q, k, v)]
    gradients_of = backend.value_and_grad(
        lambda: keras.ops.sum(layer.attend(*(x.value for x in variables)) * w), variables
    )
    _, gradients = contract.compile(gradients_of, [*variables, *layer.variables])()
    for place, gradient in enumerate(gradients):
        expected = np.zeros(q.shape)
        for index in np.ndindex(q.shape):
            values = []
            for step in (1e-5, -1e-5):
                moved = [x.astype("float64") for x in (q, k, v)]
                moved[place][index] += step
                values.append((quadratic(layer, *moved, visible) * w).sum())
            expected[index] = (values[0] - values[1]) / 2e-5
        np.testing.assert_allclose(to_numpy(gradient), expected, atol=2e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_weights_at_huge_scores_sum_to_one_or_vanish(causal):
    layer = PerformerAttention(1, num_features=16, causal=causal, chunk=4, seed=0)
    layer(normal(1, 3, 4))
    variables = [keras.Variable(normal(2, 1, 10, 4) * 100) for _ in range(2)]
    mask = np.ones((2, 10), bool)
    mask[1] = False
    ones = np.ones((2, 1, 10, 4), "float32")

    def attended():
        return layer.attend(*(x.value for x in variables), ones, mask)

    used = [*variables, *layer.variables]
    found = to_numpy(contract.compile(attended, used)())
    np.testing.assert_array_equal(found[1], 0)
    near_one = np.abs(found[0] - 1) < 1e-5
    assert near_one.all() if not causal else (near_one | (found[0] == 0)).all()
    gradients_of = backend.value_and_grad(lambda: keras.ops.sum(attended()), variables)
    _, gradients = contract.compile(gradients_of, used)()
    assert all(np.isfinite(to_numpy(g)).all() for g in gradients)


def test_outputs_are_convex_combinations_of_values():
    layer = PerformerAttention(2, num_features=16, seed=1)
    layer(normal(1, 3, 8))
    q, k = normal(2, 2, 50, 4) * 3, normal(2, 2, 50, 4) * 3
    values = np.eye(50, dtype="float32")[None, None].repeat(2, 0).repeat(2, 1)
    layer._head_size = 4
    weights = to_numpy(attend(layer, q, k, values[..., :50]))
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)


def test_more_features_come_nearer_to_softmax_attention():
    x = normal(4, 30, 8) * 0.3
    exact = MultiHeadAttention(1)
    exact(x)
    expected = to_numpy(exact(x))
    errors = []
    for num_features in (16, 64, 256, 1024):
        squares = []
        for seed in range(6):
            layer = PerformerAttention(1, num_features=num_features, seed=seed)
            layer(x)
            for variable, value in zip(layer.trainable_weights, exact.weights, strict=True):
                variable.assign(value)
            squares.append(((to_numpy(layer(x)) - expected) ** 2).mean())
        errors.append(np.sqrt(np.mean(squares)))
    slope = np.polyfit(np.log([16, 64, 256, 1024]), np.log(errors), 1)[0]
    assert -0.7 < slope < -0.35 and errors[-1] < 0.02


@pytest.mark.parametrize("chunk", [3, 4])
def test_a_causal_query_before_all_visible_keys_gets_nothing(chunk):
    layer = PerformerAttention(1, num_features=8, causal=True, chunk=chunk, seed=0)
    layer(normal(1, 3, 4))
    q, k, v = (normal(2, 1, 5, 4) for _ in range(3))
    mask = np.array([[False, True, True, True, True], [False, False, False, True, True]])
    found = to_numpy(attend(layer, q, k, v, mask))
    visible = np.tril(np.ones((5, 5), bool)) & mask[:, None]
    for row, hidden in enumerate((1, 3)):
        np.testing.assert_array_equal(found[row, :, :hidden], 0)
        rest = [x[row : row + 1, :, hidden:] for x in (q, k, v)]
        expected = quadratic(layer, *rest, visible[row : row + 1, hidden:, hidden:])
        np.testing.assert_allclose(found[row : row + 1, :, hidden:], expected, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_inputs_that_are_not_numbers_are_seen(causal):
    layer = PerformerAttention(1, num_features=8, causal=causal, chunk=2, seed=0)
    x = normal(2, 5, 4)
    x[0, 2] = np.nan
    found = np.isnan(to_numpy(layer(x)))
    assert found[0, 2:].all() and not found[1].any()
    assert found[0, :2].all() != causal


@pytest.mark.once
def test_features_are_orthogonal_and_their_estimate_unbiased():
    w = orthogonal_features(8, 8, np.random.default_rng(0)).astype("float64")
    products = w @ w.T
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-4)
    rng = np.random.default_rng(1)
    draws = np.concatenate([orthogonal_features(16, 16, rng) for _ in range(3000)])
    np.testing.assert_allclose((draws**2).sum(1).mean(), 16, rtol=0.02)
    for v in (1.8 * np.eye(16)[0], 1.8 * np.eye(16)[-1]):
        values = np.exp(draws @ v)
        # E exp(w . v) = exp(|v|^2 / 2)
        error = values.std() / np.sqrt(len(values))
        assert abs(values.mean() - np.exp(1.62)) < 4 * error
        # E w . v = 0: a much sharper test, which without the signs of R is off by ten errors
        assert abs((draws @ v).mean()) < 4 * 1.8 / np.sqrt(len(draws))
    blocks = draws.reshape(3000, 16, 16)
    for i in (0, -1):  # of a plain QR, the first diagonal elements are all negative
        assert abs(np.sign(blocks[:, i, i]).mean()) < 5 / np.sqrt(3000)
    assert stats.kstest((draws**2).sum(-1), stats.chi2(16).cdf).pvalue > 1e-3
    w = orthogonal_features(20, 8, np.random.default_rng(0)).astype("float64")
    for part in (slice(0, 8), slice(8, 16), slice(16, 20)):
        products = w[part] @ w[part].T
        np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-4)


@pytest.mark.parametrize("size", [4, 64])
def test_quantile_norms_are_those_of_the_chi_distribution(size):
    w = orthogonal_features(40, size, np.random.default_rng(0), norms="quantile")
    norms = np.linalg.norm(w.astype("float64"), axis=1)
    expected = stats.chi(size).ppf(np.arange(1, 41) / 41)
    np.testing.assert_allclose(np.sort(norms), expected, rtol=1e-5)
    assert abs(np.corrcoef(norms, np.arange(40))[0, 1]) < 0.6  # in no order
    products = w[:size] @ w[:size].T
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-3)


def test_quantile_norms_in_a_layer():
    layer = PerformerAttention(2, num_features=8, norms="quantile", seed=3)
    layer(normal(1, 3, 16))
    norms = np.linalg.norm(to_numpy(layer.projection), axis=1)
    expected = stats.chi(8).ppf(np.arange(1, 9) / 9)
    np.testing.assert_allclose(np.sort(norms), expected, rtol=1e-5)
    contract.check_config(layer)
    with pytest.raises(ValueError, match="`norms` must be .*Received: chi"):
        PerformerAttention(2, norms="chi")


@pytest.mark.once
def test_variance_of_independent_features_is_the_derived_one_and_of_orthogonal_ones_smaller():
    layer, rng = PerformerAttention(1, num_features=200_000, seed=0), np.random.default_rng(2)
    layer(normal(1, 3, 4))
    layer.projection.assign(rng.normal(size=(200_000, 4)))
    q, k = (rng.normal(size=4).astype("float32") * 0.35 for _ in range(2))
    values = np.exp(sum(to_numpy(layer.exponents(x[None])) for x in (q, k)).astype("float64"))
    q, k = (x.astype("float64") * 4**-0.25 for x in (q, k))
    assert values.mean() == pytest.approx(np.exp(q @ k), rel=0.01)
    variance = (np.exp(((q + k) ** 2).sum()) - 1) * np.exp(2 * q @ k)
    assert values.var() == pytest.approx(variance, rel=0.05)
    v = 0.5 * np.eye(8)[0]
    draws = np.stack([orthogonal_features(8, 8, rng) for _ in range(20_000)])
    independent = (np.exp(0.5) - np.exp(0.25)) / 8
    assert np.exp(draws @ v).mean(1).var() < 0.98 * independent


def test_the_future_and_padding_change_nothing():
    layer = PerformerAttention(2, num_features=16, causal=True, chunk=4, seed=0)
    x = normal(2, 10, 8)
    before = to_numpy(layer(x))
    changed = x.copy()
    changed[:, 6:] = 50
    np.testing.assert_allclose(to_numpy(layer(changed))[:, :6], before[:, :6], atol=1e-6)
    layer = PerformerAttention(2, num_features=16, chunk=4, seed=0)
    before = to_numpy(layer(x))
    padded = np.pad(x, ((0, 0), (0, 5), (0, 0)), constant_values=50)
    found = to_numpy(layer(padded, mask=np.arange(15) < np.array([[10], [10]])))
    np.testing.assert_allclose(found[:, :10], before, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_huge_inputs_stay_finite(causal):
    layer = PerformerAttention(2, num_features=16, causal=causal, chunk=4, seed=0)
    x = normal(2, 10, 8) * 100
    assert np.isfinite(to_numpy(layer(x))).all()
    # one feature has it all there, so the queries may have no influence left
    contract.check_gradients(layer, (x,), without_gradient=("bias", "kernel"))


@pytest.mark.parametrize("causal", [False, True])
def test_contract(causal, tmp_path):
    layer = PerformerAttention(2, num_features=16, causal=causal, chunk=4, seed=3)
    # a constant added to all keys does change the features, so every bias has a gradient
    contract.check_layer(layer, (normal(2, 9, 8),), tmp_path)


def test_features_are_saved_not_drawn_again(tmp_path):
    layer = PerformerAttention(1, num_features=4)
    layer(normal(1, 3, 4))
    other = PerformerAttention(1, num_features=4)
    other(normal(1, 3, 4))
    assert np.abs(to_numpy(layer.projection) - to_numpy(other.projection)).max() > 1e-3
    contract.check_reload(layer, (normal(1, 3, 4),), tmp_path)


def test_bad_arguments():
    for name in ("heads", "num_features", "chunk"):
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1. Received: 0"):
            PerformerAttention(**{"heads": 1, name: 0})
    with pytest.raises(ValueError, match="`heads` must divide"):
        PerformerAttention(3)(normal(1, 2, 8))


def test_mixed_precision_is_near_float32():
    x = normal(2, 20, 8)
    exact = PerformerAttention(2, num_features=32, seed=0)
    expected = to_numpy(exact(x))
    layer = PerformerAttention(2, num_features=32, seed=0, dtype="mixed_bfloat16")
    layer(x)
    for variable, value in zip(layer.weights, exact.weights, strict=True):
        variable.assign(value)
    found = to_numpy(layer(x)).astype("float32")
    assert_close(found, expected, atol=0.05)


@pytest.mark.parametrize("causal", [False, True])
def test_keras_compiles_with_xla_only_what_xla_can_differentiate(causal):
    inputs = keras.Input((None, 8))
    layer = PerformerAttention(2, num_features=8, causal=causal, seed=0, chunk=4)
    model = keras.Model(inputs, layer(inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is not compiled
        model.compile("adam", "mse", jit_compile=True)
    assert model.jit_compile == (not causal or keras.backend.backend() != "tensorflow")
    x = np.ones((2, 6, 8), "float32")
    losses = model.fit(x, 0 * x, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("causal", [False, True])
def test_batches_of_different_lengths_train_in_one_graph(causal):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, 8))
    layer = PerformerAttention(2, num_features=8, causal=causal, seed=0, chunk=4)
    model = keras.Model(inputs, layer(inputs))
    model.compile("adam", "mse", jit_compile=backend.train_with_xla())

    class Growing(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            x = np.ones((2, 3 + 4 * index, 8), "float32")
            return x, 0 * x

    history = model.fit(Growing(), epochs=3, shuffle=False, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
