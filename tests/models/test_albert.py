"""ALBERT: one block for all, against NumPy; its files; cached decoding."""

import pytest
from cached_steps import assert_steps_equal_the_graph
from family_checks import (
    assert_logits_equal,
    check_files,
    check_generator,
    check_hugging_face_names,
    check_mixed_precision,
    make,
    variables_of,
)
from numpy_encoder import ALBERT_BLOCK, NumpyEncoder

from kexue_keras.models import AlbertBlueprint

OPTIONS = {"embedding_size": 12, "with_mlm": "linear"}


@pytest.mark.parametrize("application", ["encoder", "lm", "unilm"])
def test_equals_the_formula(application):
    model = make("albert", application=application, num_hidden_layers=3, **OPTIONS)
    variables = variables_of(model)
    assert_logits_equal(
        model, NumpyEncoder(variables, 3, application=application, block=ALBERT_BLOCK)
    )


def test_the_blocks_share_their_layers():
    model = make("albert", num_hidden_layers=3, **OPTIONS)
    assert len(model.weights) == 3 + 2 + 2 + 8 + 2 + 4 + 2 + 2 + 2 + 1
    assert sum(layer.name == "Transformer-FeedForward" for layer in model.layers) == 1


@pytest.mark.parametrize(("application", "shared"), [("lm", True), ("unilm", False)])
def test_cached_steps_equal_the_graph(application, shared):
    """Every run of the one block has a cache of its own."""
    model = make("albert", application=application, num_hidden_layers=3, **OPTIONS)
    assert_steps_equal_the_graph(model, shared)


def test_beam_search():
    check_generator(make("albert", application="lm", **OPTIONS))


def test_files_and_mixed_precision(tmp_path):
    check_files("albert", tmp_path, **OPTIONS)
    check_mixed_precision("albert", **OPTIONS)


def test_the_order_of_two_sentences():
    proba, logits = make("albert", with_nsp=True, **OPTIONS).outputs
    assert proba.shape == (None, 2) and logits.shape == (None, None, 20)


def test_names_in_hugging_face_s_format():
    model = make("albert", with_nsp=True, **OPTIONS)
    layer = "encoder.albert_layer_groups.0.albert_layers.0"
    expected = {
        "Embedding-Norm": ["embeddings.LayerNorm.bias", "embeddings.LayerNorm.weight"],
        "Transformer-FeedForward": [f"{layer}.{name}" for name in ("ffn.weight", "ffn.bias")]
        + [f"{layer}.{name}" for name in ("ffn_output.weight", "ffn_output.bias")],
        "Transformer-FeedForward-Norm": [
            f"{layer}.full_layer_layer_norm.bias",
            f"{layer}.full_layer_layer_norm.weight",
        ],
        "Pooler-Dense": ["pooler.weight", "pooler.bias"],
    }
    check_hugging_face_names(model, expected)
    found = AlbertBlueprint.from_hugging_face({"hidden_size": 768, "num_hidden_groups": 1})
    assert found["hidden_act"] == "gelu_tanh" and found["embedding_size"] == 128
    assert (found["hidden_size"], found["dropout_rate"]) == (768, 0.0)
    assert make("albert").blueprint.to_hugging_face()["embedding_size"] == 16


def test_several_groups_are_refused():
    with pytest.raises(ValueError, match="`num_hidden_groups` must be 1. Received: 4"):
        make("albert", num_hidden_groups=4)
    found = AlbertBlueprint.from_hugging_face({"inner_group_num": 2})
    with pytest.raises(ValueError, match="`inner_group_num` must be 1. Received: 2"):
        AlbertBlueprint(**found)
