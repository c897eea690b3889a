"""Layers say in which order bert4keras keeps their variables."""

import keras
import numpy as np
import pytest

from kexue_keras import layers
from kexue_keras.models.checkpoints.weights import refuse_lora, to_float32, weights_of


def names(layer, *shapes):
    layer.build(*shapes)
    return [name for name, _ in weights_of(layer)]


def test_orders():
    four = [f"{part}_dense/{kind}" for part in "qkvo" for kind in ("kernel", "bias")]
    assert names(layers.MultiHeadAttention(2), (None, 3, 4)) == four
    assert names(layers.PerformerAttention(2, seed=0), (None, 3, 4)) == four
    ends = ["i0_dense/kernel", "i0_dense/bias", "o_dense/kernel", "o_dense/bias"]
    assert names(layers.FeedForward(3), (None, 4)) == ends
    assert names(layers.LayerNormalization(), (None, 4)) == ["beta", "gamma"]
    assert names(keras.layers.LayerNormalization(), (None, 4)) == ["gamma", "beta"]
    conditional = layers.LayerNormalization(conditional=True, hidden_units=2)
    expected = ["beta", "gamma", "hidden_dense/kernel", "beta_dense/kernel", "gamma_dense/kernel"]
    assert names(conditional, [(None, 4), (None, 3)]) == expected
    assert names(layers.BiasAdd(), (None, 4)) == ["beta"]
    assert names(keras.layers.Dropout(0.1), (None, 4)) in ([], ["seed_generator_state"])


def test_values_and_lora():
    dense = keras.layers.Dense(2, dtype="bfloat16", name="dense")
    model = keras.Sequential([keras.Input((8,)), dense])
    assert to_float32(dense.kernel).dtype == np.float32
    refuse_lora(model)
    dense.enable_lora(1)
    with pytest.raises(ValueError, match="`model` must not have LoRA.*Received: .*dense"):
        refuse_lora(model)
