"""GPT: against NumPy, files, segments that are speakers, cached decoding, what is refused."""

import numpy as np
import pytest
from cached_steps import assert_steps_equal_the_graph
from generative_checks import (
    FIRST,
    KEPT,
    SECOND,
    SIZES,
    assert_logits_equal,
    check_files,
    check_hugging_face_names,
    check_mixed_precision,
    check_reload,
    make,
    run,
)
from numpy_decoder import NumpyDecoder, gelu

from kexue_keras import models

LINEAR = {"final_activation": "linear"}


def test_equals_the_formula():
    model = make("gpt", **LINEAR)
    reference = NumpyDecoder(model)
    assert_logits_equal(run(model), map(reference.gpt, FIRST, SECOND))
    assert model.application == "lm" and model.layers[-1].name == "LM-Activation"
    names = [layer.name for layer in model.layers]
    assert not any("MLM" in name for name in names) and "Embedding-Norm" not in names


def test_gelu_is_the_one_by_tanh():
    model = make("gpt", **LINEAR)
    exact = make("gpt", hidden_act="gelu_erf", **LINEAR)
    assert_logits_equal(run(exact), map(NumpyDecoder(exact, act=gelu).gpt, FIRST, SECOND))
    assert 1e-5 < np.abs(run(model) - run(exact)).max() < 0.1
    assert [model.blueprint.hidden_activation, exact.blueprint.hidden_activation] == [
        "gelu_tanh",
        "gelu_erf",
    ]


def test_segments_may_be_tokens():
    """CDial-GPT: the speakers are tokens, and their segments have the embeddings of these."""
    model = make("gpt", shared_segment_embeddings=True, **LINEAR)
    assert "Embedding-Segment" not in model.blueprint.layers
    speakers = np.where(SECOND, 7, 4) * (FIRST > 0)
    assert_logits_equal(run(model, FIRST, speakers), map(NumpyDecoder(model).gpt, FIRST, speakers))
    assert model.blueprint.segment_vocab_size == 9
    kept = make("gpt", shared_segment_embeddings=True, keep_tokens=KEPT, **LINEAR)
    assert kept.blueprint.segment_vocab_size == 5
    none = make("gpt", shared_segment_embeddings=True, segment_vocab_size=0, **LINEAR)
    assert len(none.inputs) == 1 and none.blueprint.segment_vocab_size == 0


@pytest.mark.parametrize(
    ("options", "shared"),
    [
        ({}, True),
        ({"application": "unilm"}, False),
        ({"shared_segment_embeddings": True, "dropout_rate": 0.1}, True),
    ],
)
def test_cached_steps_equal_the_graph(options, shared):
    assert_steps_equal_the_graph(make("gpt", **LINEAR, **options), shared)


def test_files(tmp_path):
    check_files("gpt", tmp_path, segment_vocab_size=0, intermediate_size=64, **LINEAR)
    check_reload(make("gpt", application="unilm", condition_size=None), tmp_path)


def test_mixed_precision_and_probabilities():
    options = {"dropout_rate": 0.1, "attention_dropout_rate": 0.1}
    check_mixed_precision(make("gpt", **LINEAR), make("gpt", 1, dtype="mixed_float16", **LINEAR))
    model = make("gpt", **options)
    np.testing.assert_allclose(run(model).sum(-1), 1, atol=1e-5)
    assert "Embedding-Dropout" in model.blueprint.layers


def test_names_and_configuration_of_hugging_face():
    model = make("gpt", segment_vocab_size=0, **LINEAR)
    joined = ["h.1.attn.c_attn.weight", "h.1.attn.c_attn.bias"]
    projection = ["h.1.attn.c_proj.weight", "h.1.attn.c_proj.bias"]
    expected = {
        "Embedding-Token": ["tokens_embed.weight"],
        "Transformer-1-MultiHeadSelfAttention": [*joined * 3, *projection],
        "Transformer-1-FeedForward-Norm": ["h.1.ln_2.bias", "h.1.ln_2.weight"],
    }
    check_hugging_face_names(model, expected)
    written = model.blueprint.to_hugging_face()
    assert (written["n_embd"], written["afn"], written["layer_norm_epsilon"]) == (16, "gelu", 1e-5)
    found = models.GptBlueprint.from_hugging_face({"n_layer": 3})
    assert (found["num_hidden_layers"], found["intermediate_size"]) == (3, 3072)
    assert models.GptBlueprint.from_hugging_face(written)["max_position"] == 20
    assert model.variable_mapping()["Transformer-0-FeedForward"][0] == (
        "gpt/transformer/layer_0/intermediate/dense/kernel"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"with_mlm": "linear"}, "`with_mlm` must be left out for GptBlueprint.*'linear'"),
        ({"with_pool": True}, "Gpt has no argument `with_pool`"),
        ({"embedding_size": 8}, "`embedding_size` must be `hidden_size` 16.*Received: 8"),
        ({"application": "unilm", "segment_vocab_size": 0}, "`segment_vocab_size` must be at leas"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build_transformer_model(model="gpt", **SIZES, **options)
