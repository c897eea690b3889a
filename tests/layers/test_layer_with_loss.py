"""Layers that are found by their keys."""

import gc

import pytest
from contract import check_config

from kexue_keras.layers.layer_with_loss import LayerWithLoss


def test_a_layer_is_found_by_its_key_while_it_lives():
    layer, other = LayerWithLoss(name="one"), LayerWithLoss(name="other")
    assert layer.key != other.key
    assert LayerWithLoss.of_key(layer.key) is layer
    again = LayerWithLoss.from_config(layer.get_config())
    assert again.key == layer.key and LayerWithLoss.of_key(layer.key) is again
    check_config(layer)
    key = other.key
    del other
    gc.collect()
    for absent in (key, "nobody", None):
        with pytest.raises(ValueError, match="`key` must be that of a layer of the model. Rec"):
            LayerWithLoss.of_key(absent)
