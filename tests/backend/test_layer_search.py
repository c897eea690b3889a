"""Layers by name, wherever they are nested."""

import keras
import pytest

from kexue_keras import backend


def test_layers_are_found_in_nested_models_and_by_name():
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="inside")], name="in")
    outer = keras.Sequential([inner, keras.layers.Dense(1, name="score")], name="out")
    assert {"in", "inside", "score"} <= {layer.name for layer in backend.layers_of(outer)}
    assert backend.layer_of(outer, "inside") is inner.layers[-1]
    with pytest.raises(ValueError, match=r"'insde'.*'out' with 0 \(close to it: inside"):
        backend.layer_of(outer, "insde")
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="inside")], name="b")
    both = keras.Sequential([inner, other], name="both")
    with pytest.raises(ValueError, match="'inside'.*'both' with 2"):
        backend.layer_of(both, "inside")
    shared = keras.Sequential([inner, inner], name="shared")
    assert backend.layer_of(shared, "inside") is inner.layers[-1]


def test_the_graph_upwards():
    x = keras.Input((2,), name="x")
    dense = keras.layers.Dense(2, name="dense")
    first = dense(x)
    second = dense(first)
    total = keras.layers.Add(name="sum")([first, second])
    assert backend.layer_behind(total).name == "sum"
    assert [layer.name for layer in backend.layers_before(backend.layer_behind(total))] == [
        "dense",
        "dense",
    ]
    assert backend.output_at(dense, 0) is first and backend.output_at(dense, -1) is second
    with pytest.raises(ValueError, match="one of the 2 calls of layer 'dense'. Received: 2"):
        backend.output_at(dense, 2)
