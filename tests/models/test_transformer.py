"""Transformers are found again in models, by what they are or by their token embedding."""

import keras
import numpy as np
import pytest
from cached_steps import randomize
from contract import check_config, to_numpy

from kexue_keras import models
from kexue_keras.models.transformer import blueprints_of, family_of

IDS = np.array([[2, 5, 7, 0], [2, 8, 3, 3]], "int32")
INPUTS = [IDS, np.zeros_like(IDS)]


def bert(**options):
    return randomize(models.Bert(9, 8, 1, 2, 16, **options))


def test_configuration_and_properties():
    model = bert(application="unilm", position="rotary", keep_tokens=[0, 1, 2, 3, 5, 7, 8])
    check_config(model)
    assert model.application == "unilm" and model.keep_tokens[-1] == 8
    assert model.get_config()["position"] == "rotary" and "family" not in model.get_config()
    assert "Embedding-Position" not in {layer.name for layer in model.layers}
    assert "Embedding-Token" in model.variable_mapping()
    assert model.initializer((2, 2)).shape == (2, 2)


@pytest.mark.parametrize("position", ["rotary", "relative"])
def test_positions_inside_attention_matter(position):
    model = bert(position=position)
    swapped = IDS[:, [0, 2, 1, 3]]
    before, after = (to_numpy(model([x, INPUTS[1]]))[1, 0] for x in (IDS, swapped))
    assert np.abs(before - after).max() > 1e-3


def test_a_condition_is_the_last_input_and_reaches_all_norms():
    model = bert(condition_size=3, with_mlm="linear", target_positions=True)
    assert [x.name for x in model.inputs][-1] == "Input-Condition"
    kernels = [v for v in model.weights if v.name.endswith("_kernel")]
    assert len(kernels) == 2 * 4
    places, condition = np.array([[1], [2]]), np.ones((2, 3), "float32")
    before = to_numpy(model([*INPUTS, places, condition]))
    for kernel in kernels:
        value = to_numpy(kernel.value)
        kernel.assign(value + 0.5)
        assert np.abs(to_numpy(model([*INPUTS, places, condition])) - before).max() > 1e-4
        kernel.assign(value)


def test_where_blueprints_are_found():
    model = bert(name="inner")
    assert blueprints_of(model) == [model.blueprint]
    nested = keras.Model(model.inputs, keras.layers.Dense(2)(model(model.inputs)))
    assert blueprints_of(nested) == [model.blueprint]
    flat = keras.Model(model.inputs, keras.layers.Dense(2)(model.output), name="flat")
    (found,) = blueprints_of(flat)
    assert found is not model.blueprint and found.model is flat
    assert found.attention(0) is model.get_layer("Transformer-0-MultiHeadSelfAttention")
    assert found.get_config() == model.blueprint.get_config()
    both = keras.Model(model.inputs, [model(model.inputs), bert(name="b")(model.inputs)])
    assert len(blueprints_of(both)) == 2
    assert blueprints_of(keras.Sequential([keras.layers.Dense(1)])) == []


def test_a_part_of_a_transformer_still_loads_its_checkpoint(tmp_path):
    """What is built on an inner layer has fewer layers; they are filled all the same."""
    model = bert(with_mlm="linear")
    models.save_checkpoint(model, tmp_path / "model.ckpt")
    other = models.Bert(9, 8, 1, 2, 16, with_mlm="linear")
    part = keras.Model(other.inputs, other.get_layer("Embedding-Norm").output)
    part.save(tmp_path / "part.keras")
    for loaded in (part, keras.saving.load_model(tmp_path / "part.keras")):
        models.load_checkpoint(loaded, tmp_path / "model.ckpt")
        expected = keras.Model(model.inputs, model.get_layer("Embedding-Norm").output)
        np.testing.assert_allclose(to_numpy(loaded(INPUTS)), to_numpy(expected(INPUTS)), atol=1e-6)


def test_an_unknown_family():
    assert family_of("kexue_keras>BertBlueprint") is models.BertBlueprint
    with pytest.raises(ValueError, match="`family` must be .*Received: 'kexue_keras>Nothing'"):
        family_of("kexue_keras>Nothing")
