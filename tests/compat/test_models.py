"""`build_transformer_model` of compat: what it adds."""

import json

import keras
import numpy as np
import pytest
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras.compat.backend import set_gelu
from kexue_keras.compat.keras_models import load_model
from kexue_keras.compat.models import build_transformer_model
from kexue_keras.layers.feed_forward import gelu_tanh
from kexue_keras.models import Blueprint

pytestmark = pytest.mark.once

IDS = [np.array([[2, 7, 8, 3]]), np.zeros((1, 4), "int32")]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


def test_what_gelu_is(tiny):
    found = []
    for version in ("erf", "tanh"):
        set_gelu(version)
        model = build_transformer_model(tiny.config_path, tiny.checkpoint_path)
        found.append(model.predict_on_batch(IDS))
        activation = model.get_layer("Transformer-0-FeedForward").activation
        assert (activation is gelu_tanh) == (version == "tanh")
    set_gelu("erf")
    assert 1e-6 < np.abs(found[0] - found[1]).max() < 1e-2
    with pytest.raises(ValueError, match='`version` must be "erf" or "tanh". Received: \'x\''):
        set_gelu("x")


def test_saved_under_any_name(tiny, tmp_path):
    model = build_transformer_model(tiny.config_path, tiny.checkpoint_path, "BERT", "Encoder")
    with pytest.warns(UserWarning, match="Keras 3 saves .*test.model as .*test.model.keras"):
        model.save(tmp_path / "test.model")
    with pytest.warns(UserWarning, match="Keras 3 saves"):
        again = load_model(str(tmp_path / "test.model"))
    np.testing.assert_allclose(again.predict_on_batch(IDS), model.predict_on_batch(IDS), rtol=1e-6)
    assert load_model(tmp_path / "test.model.keras").name == model.name


def test_the_object_of_bert4keras(tiny):
    bert = build_transformer_model(tiny.config_path, return_keras_model=False)
    assert isinstance(bert, Blueprint)
    bert.load_weights_from_checkpoint(tiny.checkpoint_path)
    layer = bert.model.layers[-2]
    assert layer.name == "Transformer-1-FeedForward-Add"
    assert layer.get_output_at(-1) is layer.output
    assert isinstance(bert.initializer, keras.initializers.Initializer)
    config = json.loads(json.dumps(bert.model.get_config()))
    assert type(bert.model).from_config(config).output.shape == bert.model.output.shape


def test_defaults_of_t5_and_gelu_are_bert4keras_s():
    sizes = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 16, "return_keras_model": False}
    t5 = build_transformer_model(model="t5.1.1", hidden_act=["gelu", "linear"], **sizes)
    wanted = {"cross_position_bias": True, "scale_output": True}
    assert wanted.items() <= t5.config.items()
    assert t5.config["hidden_act"] == ["gelu_erf", "linear"]
    gpt = build_transformer_model(model="gpt", hidden_act="gelu", segment_vocab_size=0, **sizes)
    assert gpt.config["hidden_act"] == "gelu_erf"
    given = build_transformer_model(model="t5.1.0", cross_position_bias=False, **sizes)
    assert not given.config["cross_position_bias"] and given.config["scale_output"]
