"""Methods of layers as losses that a compiled model can save."""

import keras
import pytest
from contract import check_serialization

from kexue_keras.layers.layer_function import LayerFunction
from kexue_keras.layers.layer_with_loss import LayerWithLoss


class Distance(LayerWithLoss):
    def _distance(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


def test_it_calls_the_method_of_its_layer():
    layer = Distance()
    function = LayerFunction(layer.key, "_distance", layer)
    assert function.__name__ == "distance"
    assert float(function(keras.ops.array([1.0, 3.0]), keras.ops.array([2.0, 2.0]))) == 1
    again = check_serialization(function)
    assert again.layer is layer and again.method == "_distance"


def test_it_finds_the_layer_last_made_with_the_key():
    layer = Distance()
    again = Distance.from_config(layer.get_config())
    assert LayerFunction(layer.key, "_distance").layer is again


def test_unknown_key():
    with pytest.raises(ValueError, match="`key` must be that of a layer"):
        LayerFunction("nobody", "_sparse_loss")
