"""Scores in float32 of what is in half precision, and a softmax that keeps half precision only."""

import keras
import numpy as np
import pytest
from contract import compile, to_numpy

from kexue_keras import backend
from kexue_keras.layers import MultiHeadAttention
from kexue_keras.layers.attention_scores import scores_in_float32, softmax_to_half

RNG = np.random.default_rng(0)
HALVES = {"float16": 2e-3, "bfloat16": 2e-2}
KEYS = {"hkd": (3, 7, 4), "bhkd": (2, 3, 7, 4), "bqhkd": (2, 5, 3, 7, 4)}


def variables(dtype, *arrays):
    return [keras.Variable(keras.ops.cast(x, dtype), dtype=dtype) for x in arrays]


def wide(x):
    return to_numpy(keras.ops.cast(x, "float32"))


@pytest.mark.parametrize("axes", KEYS)
@pytest.mark.parametrize("dtype", ["float32", *HALVES])
def test_scores_and_their_gradients(axes, dtype):
    query, key = RNG.normal(size=(2, 3, 5, 4)), RNG.normal(size=KEYS[axes])
    upstream = RNG.normal(size=(2, 3, 5, 7)).astype("float32")
    q, k = variables(dtype, query, key)

    def objective():
        scores = scores_in_float32(q.value, k.value)
        assert keras.backend.standardize_dtype(scores.dtype) == "float32"
        return keras.ops.sum(scores * upstream), scores

    (_, scores), gradients = compile(backend.value_and_grad(objective, [q, k]), [q, k])()
    query, key = wide(q.value), wide(k.value)
    np.testing.assert_allclose(scores, np.einsum(f"bhqd,{axes}->bhqk", query, key), 1e-5, 1e-6)
    expected = [
        np.einsum(f"bhqk,{axes}->bhqd", upstream, key),
        np.einsum(f"bhqk,bhqd->{axes}", upstream, query),
    ]
    for found, value, x in zip(gradients, expected, (q, k), strict=True):
        assert found.dtype == x.dtype
        np.testing.assert_allclose(wide(found), value, atol=HALVES.get(dtype, 1e-6) * 20)


@pytest.mark.parametrize("dtype", HALVES)
def test_softmax_and_its_gradient(dtype):
    scores = 3 * RNG.normal(size=(2, 1, 4, 6)).astype("float32")
    visible = RNG.random((2, 1, 4, 6)) < 0.7
    visible[..., 0] = True
    visible[0, 0, 0] = False  # a query that sees nothing
    upstream = RNG.normal(size=scores.shape)
    upstream = wide(keras.ops.cast(upstream, dtype))
    (variable,) = variables("float32", scores)

    def objective():
        weights = softmax_to_half(variable.value, keras.ops.convert_to_tensor(visible), dtype)
        assert keras.backend.standardize_dtype(weights.dtype) == dtype
        weights = keras.ops.cast(weights, "float32")
        return keras.ops.sum(weights * upstream), weights

    run = compile(backend.value_and_grad(objective, [variable]), [variable])
    (_, weights), (gradient,) = run()
    exact = np.exp(scores - scores.max(-1, keepdims=True)) * visible
    exact[0, 0, 0] = 1
    exact /= exact.sum(-1, keepdims=True)
    np.testing.assert_allclose(weights, exact, atol=HALVES[dtype])
    expected = exact * (upstream - (exact * upstream).sum(-1, keepdims=True)) * visible
    np.testing.assert_allclose(gradient, expected, atol=5 * HALVES[dtype])
    assert not to_numpy(gradient)[~visible].any()


def test_second_derivatives():
    """A gradient penalty differentiates the gradient once more."""
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch has first derivatives only here")
    x = RNG.normal(size=(1, 1, 2, 3)).astype("float32")
    wanted = RNG.normal(size=x.shape).astype("float32")

    def penalty(softmax, variable):
        def inner():
            weights = keras.ops.cast(softmax(variable.value), "float32")
            return keras.ops.sum(weights * wanted)

        def outer():
            _, (gradient,) = backend.value_and_grad(inner, [variable])()
            return keras.ops.sum(gradient**2)

        return compile(backend.value_and_grad(outer, [variable]), [variable])()

    (variable,) = variables("float32", x)
    value, (found,) = penalty(lambda s: softmax_to_half(s, None, "float16"), variable)
    exact_value, (exact,) = penalty(lambda s: keras.ops.softmax(s, axis=-1), variable)
    assert float(value) == pytest.approx(float(exact_value), rel=1e-2)
    assert np.abs(to_numpy(exact)).max() > 0.05
    np.testing.assert_allclose(to_numpy(found), to_numpy(exact), atol=5e-3)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_training_step_in_half_precision_keeps_no_float32_scores(dropout, capsys):
    """What JAX keeps for the gradient of a layer, by dtype and shape."""
    if keras.backend.backend() != "jax":
        pytest.skip("only JAX tells what it keeps")
    import jax

    def kept(policy):
        layer = MultiHeadAttention(2, dropout=dropout, dtype=policy)
        layer.build((3, 7, 8))
        x, mask = np.ones((3, 7, 8), "float32"), np.ones((3, 1, 7), bool)
        others = [v.value for v in layer.non_trainable_variables]

        def run(values, x):
            y, _ = layer.stateless_call(values, others, x, attention_mask=mask, training=True)
            return y.astype("float32").sum()

        jax.ad_checkpoint.print_saved_residuals(
            run, [v.value for v in layer.trainable_variables], x
        )
        lines = capsys.readouterr().out.splitlines()
        return [line.split()[0] for line in lines if "[3,2,7,7]" in line]

    half, whole = kept("mixed_bfloat16"), kept("float32")
    assert any(x.startswith("f32") for x in whole)
    assert half and not any(x.startswith("f32") for x in half)
