import json
import math

import keras
import numpy as np
import pytest
from contract import assert_close, check_layer, perturb, to_numpy

from kexue_keras.layers import FeedForward
from kexue_keras.layers.feed_forward import exact_activation, gelu_tanh

erf = np.vectorize(math.erf)
ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
}


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"activation": "gelu_tanh", "kernel_initializer": "he_normal"},
        {"activation": keras.activations.relu, "use_bias": False},
        {"activation": ["gelu_tanh", "linear"], "use_bias": False},
    ],
)
def test_contract(config, tmp_path):
    check_layer(FeedForward(6, **config), (normal(2, 5, 4),), tmp_path)


def test_contract_with_two_axes(tmp_path):
    check_layer(FeedForward(6), (normal(3, 4),), tmp_path, length_axis=None)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("use_bias", [True, False])
def test_equals_the_formula(activation, use_bias):
    layer = FeedForward(6, activation, use_bias)
    x = 2 * normal(2, 5, 4)
    layer(x)
    perturb(layer)
    weights = {w.path.split("/", 1)[1]: to_numpy(w).astype("float64") for w in layer.weights}
    inner = x @ weights["intermediate/kernel"] + weights.get("intermediate/bias", 0)
    expected = ACTIVATIONS[activation](inner) @ weights["output/kernel"]
    assert_close(layer(x), expected + weights.get("output/bias", 0), atol=1e-5)
    assert len(weights) == (4 if use_bias else 2)


def test_the_gate_equals_the_formula():
    layer, x = FeedForward(6, ["gelu", "relu"]), 2 * normal(2, 5, 4)
    layer(x)
    perturb(layer)
    names = [name for name, _ in layer.bert4keras_weights()]
    kernels = [f"{dense}_dense" for dense in ("i0", "i1", "o")]
    assert names == [f"{dense}/{part}" for dense in kernels for part in ("kernel", "bias")]
    weights = [to_numpy(v).astype("float64") for _, v in layer.bert4keras_weights()]
    inner = ACTIVATIONS["gelu"](x @ weights[0] + weights[1])
    gate = np.maximum(x @ weights[2] + weights[3], 0)
    assert_close(layer(x), (inner * gate) @ weights[4] + weights[5], atol=1e-5)


def test_gelu_is_the_exact_one():
    x = np.linspace(-4, 4, 81).astype("float32")
    assert_close(exact_activation("gelu")(x), ACTIVATIONS["gelu"](x), atol=1e-6)
    assert_close(gelu_tanh(x), ACTIVATIONS["gelu_tanh"](x), atol=1e-6)
    assert exact_activation("gelu_new") is exact_activation("gelu_tanh") is gelu_tanh
    assert exact_activation("gelu_erf") is exact_activation("gelu")
    assert np.abs(to_numpy(exact_activation("gelu")(x) - gelu_tanh(x))).max() > 1e-4


def test_a_policy_reaches_the_inner_layers():
    layer = FeedForward(6, dtype="mixed_bfloat16")
    layer.build((None, 4))
    assert layer.intermediate_dense.dtype_policy.name == "mixed_bfloat16"
    assert layer.output_dense.compute_dtype == "bfloat16"


def test_a_mask_passes_through():
    layer = FeedForward(3)
    mask = keras.ops.convert_to_tensor(np.array([[True, False]]))
    assert layer.compute_mask(normal(1, 2, 4), mask) is mask


def test_the_name_of_the_activation_is_in_the_config():
    for name in ("gelu", "relu", "tanh"):
        assert FeedForward(3, name).get_config()["activation"] == name
    assert FeedForward(3, ("gelu", "linear")).get_config()["activation"] == ["gelu", "linear"]
    json.dumps(FeedForward(3, gelu_tanh).get_config())


def test_unknown_activation():
    with pytest.raises(ValueError, match="nonsense"):
        FeedForward(3, "nonsense")
    with pytest.raises(ValueError, match="`activation` must be one or a list of two.*'relu'"):
        FeedForward(3, ["relu"])
