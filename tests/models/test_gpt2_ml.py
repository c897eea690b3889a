"""GPT2_ML: against NumPy, files, cached decoding."""

import pytest
from cached_steps import assert_steps_equal_the_graph
from generative_checks import (
    FIRST,
    assert_logits_equal,
    check_files,
    check_hugging_face_names,
    check_mixed_precision,
    check_reload,
    make,
    run,
)
from numpy_decoder import NumpyDecoder, gelu

LINEAR = {"final_activation": "linear"}


def test_equals_the_formula():
    model = make("gpt2_ml", application="lm", **LINEAR)
    reference = NumpyDecoder(model, act=gelu)
    assert_logits_equal(run(model), (reference.gpt(row, order="gpt2_ml") for row in FIRST))


@pytest.mark.parametrize("shared", [True, False])
def test_cached_steps_equal_the_graph(shared):
    assert_steps_equal_the_graph(make("gpt2_ml", dropout_rate=0.1, **LINEAR), shared)


def test_files_and_mixed_precision(tmp_path):
    check_files("gpt2_ml", tmp_path, folder=False, **LINEAR)
    check_reload(make("gpt2_ml"), tmp_path)
    half = make("gpt2_ml", 1, dtype="mixed_float16", **LINEAR)
    check_mixed_precision(make("gpt2_ml", **LINEAR), half)


def test_names():
    model = make("gpt2_ml", num_hidden_layers=11, hidden_size=4, **LINEAR)
    kernel = model.variable_mapping()["Transformer-10-MultiHeadSelfAttention"][0]
    assert kernel == "newslm/layer10/query_layer/kernel"
    first = model.variable_mapping()["Transformer-1-FeedForward-Norm-0"][0]
    assert first == "newslm/layer01/LayerNorm_mlp_ln0/beta"
    expected = {"Embedding-Norm": ["emb_norm.bias", "emb_norm.weight"]}
    check_hugging_face_names(model, expected)
    with pytest.raises(ValueError, match="`model` must be of a family that.*Received: GPT2_ML"):
        model.blueprint.to_hugging_face()
