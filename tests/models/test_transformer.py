"""Transformers are found again in models, by what they are or by their token embedding."""

import threading

import keras
import numpy as np
import pytest
from cached_steps import randomize
from contract import check_config, to_numpy

from kexue_keras import decoding, models
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


def same_weights(one, two):
    for x, y in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("head_outside", [False, True])
def test_layers_of_one_transformer_in_several_models(tmp_path, head_outside):
    """The encoder is one model, what is built on it another; both are loaded and saved."""
    source = bert(application="lm", with_mlm="linear")
    models.save_checkpoint(source, tmp_path / "source.npz")
    model = models.Bert(9, 8, 1, 2, 16, application="lm", with_mlm="linear")
    hidden = model.get_layer("Transformer-0-FeedForward-Norm").output
    encoder = keras.Model(model.inputs, hidden, name="encoder")
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    x = encoder(inputs)
    if head_outside:
        x = model.get_layer("MLM-Norm")(model.get_layer("MLM-Dense")(x))
        x = model.get_layer("MLM-Bias")(model.get_layer("Embedding-Token")(x, mode="dense"))
        outer = keras.Model(inputs, x)
    else:
        whole = keras.Model(model.inputs, keras.layers.Activation("softmax")(model.output))
        outer = keras.Model(inputs, [x, whole(inputs)])
    models.load_checkpoint(outer, tmp_path / "source.npz")
    same_weights(model, source)
    models.save_checkpoint(outer, tmp_path / "again.npz")
    with np.load(tmp_path / "source.npz") as a, np.load(tmp_path / "again.npz") as b:
        assert sorted(a) == sorted(b)
    results = [decoding.Generator(m, 3, maxlen=3).beam_search([[2, 5]]) for m in (outer, source)]
    assert results[0][0][0][0] == results[1][0][0][0]


@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_two_layers_of_one_name_are_refused():
    model = bert(with_mlm="linear")
    hidden = model.get_layer("Transformer-0-FeedForward-Norm").output
    encoder = keras.Model(model.inputs, hidden, name="encoder")
    other = keras.Sequential([keras.Input((None, 8)), keras.layers.Dense(8, name="MLM-Dense")])
    third = keras.Sequential([keras.Input((None, 8)), keras.layers.Dense(8, name="MLM-Dense")])
    outer = keras.Model(model.inputs, [other(encoder.output), third(encoder.output)])
    with pytest.raises(ValueError, match="one layer of the name 'MLM-Dense'"):
        blueprints_of(outer)


@pytest.mark.once
def test_conditions_of_several_programs_at_once():
    """A blueprint keeps no tensor of the program that runs it."""
    model = bert(application="lm", with_mlm="linear", condition_size=3)
    found, conditions = {}, np.eye(3, dtype="float32")

    def search(i):
        generator = decoding.Generator(model, end_id=3, maxlen=3)
        found[i] = generator.beam_search([[2, 5]], condition=conditions[i : i + 1])

    threads = [threading.Thread(target=search, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    generator = decoding.Generator(model, end_id=3, maxlen=3)
    assert found == {
        i: generator.beam_search([[2, 5]], condition=conditions[i : i + 1]) for i in range(3)
    }
    assert model.blueprint.condition is None
    with pytest.raises(ValueError, match="`condition` must be of size 3. Received: none"):
        model.blueprint.given({})


def test_a_condition_where_there_is_none_is_refused():
    generator = decoding.Generator(bert(application="lm", with_mlm="linear"), 3, maxlen=3)
    with pytest.raises(ValueError, match="`condition` must be None for a model without"):
        generator.beam_search([[2]], condition=np.ones((1, 4)))


def test_the_policy_is_that_of_the_time_of_building():
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        model = bert()
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_config()["dtype"]["config"]["name"] == "mixed_bfloat16"
    assert models.Bert.from_config(model.get_config()).output.dtype == "bfloat16"


def test_the_arguments_of_a_bert():
    by_place = models.Bert(9, 8, 1, 2, 16, "gelu", 32, 2, None, None, 0.0, 0.0, "encoder", True)
    assert by_place.get_config()["with_pool"] is True and by_place.output.shape == (None, 8)
    assert not models.Bert(9, 8, 1, 2, 16, trainable=False).trainable_variables
    model = bert()
    clone = keras.models.clone_model(model)
    assert [w.shape for w in clone.weights] == [w.shape for w in model.weights]


@pytest.mark.parametrize(
    "options", [{"attention_scale": "entropy_invariant"}, {"condition_size": 2}]
)
def test_float64(options):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has float64 only where all of it does")
    model = bert(**options, dtype="float64")
    inputs = [*INPUTS, np.ones((2, 2))][: 2 + ("condition_size" in options)]
    assert keras.backend.standardize_dtype(model(inputs).dtype) == "float64"


def test_a_blueprint_makes_one_model():
    blueprint = models.BertBlueprint(9, 8, 1, 2, 16)
    models.Transformer(blueprint, name="first")
    with pytest.raises(ValueError, match="must not have made a model yet.*'first'"):
        models.Transformer(blueprint)
