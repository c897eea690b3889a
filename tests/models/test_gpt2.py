"""GPT-2: against NumPy, files, cached decoding, what is refused."""

import numpy as np
import pytest
from cached_steps import assert_steps_equal_the_graph
from generative_checks import (
    FIRST,
    SIZES,
    assert_logits_equal,
    check_files,
    check_hugging_face_names,
    check_mixed_precision,
    check_reload,
    make,
    run,
)
from numpy_decoder import NumpyDecoder

from kexue_keras import decoding, models

LINEAR = {"final_activation": "linear"}


def test_equals_the_formula():
    model = make("gpt2", **LINEAR)
    reference = NumpyDecoder(model)
    assert_logits_equal(run(model), (reference.gpt(row, order="gpt2") for row in FIRST))
    assert model.application == "lm" and len(model.inputs) == 1
    same = make("gpt2", application="lm", segment_vocab_size=2, **LINEAR)
    np.testing.assert_allclose(run(same), run(model), atol=1e-6)


@pytest.mark.parametrize("shared", [True, False])
def test_cached_steps_equal_the_graph(shared):
    assert_steps_equal_the_graph(make("gpt2", dropout_rate=0.1, **LINEAR), shared)


def test_conditions_reach_cached_steps():
    model = make("gpt2", condition_size=3, **LINEAR)
    assert_steps_equal_the_graph(model, shared=True, conditioned=True)


def test_constrained_search():
    model = make("gpt2", **LINEAR)
    tree = decoding.PrefixTree([[4, 5, 3], [4, 6, 3], [7, 3]])
    generator = decoding.Generator(model, end_id=3, maxlen=4)
    found = generator.beam_search([[2, 5], [1, 7, 8]], topk=3, constraint=tree)
    for results in found:
        assert sorted(ids for ids, _ in results) == [[4, 5, 3], [4, 6, 3], [7, 3]]


def test_files(tmp_path):
    check_files("gpt2", tmp_path, hidden_act="relu", **LINEAR)
    check_reload(make("gpt2", dropout_rate=0.1), tmp_path)


def test_mixed_precision():
    check_mixed_precision(make("gpt2", **LINEAR), make("gpt2", 1, dtype="mixed_float16", **LINEAR))


def test_names_and_configuration_of_hugging_face():
    model = make("gpt2", **LINEAR)
    expected = {
        "Embedding-Position": ["wpe.weight"],
        "Transformer-0-MultiHeadSelfAttention-Norm": ["h.0.ln_1.bias", "h.0.ln_1.weight"],
        "Output-Norm": ["ln_f.bias", "ln_f.weight"],
    }
    check_hugging_face_names(model, expected)
    read = models.Gpt2Blueprint.from_hugging_face
    # ours "gelu" is theirs "gelu_new", theirs "gelu" is the exact one
    for ours, theirs in (("gelu", "gelu_new"), ("gelu_erf", "gelu"), ("relu", "relu")):
        written = make("gpt2", hidden_act=ours, num_hidden_layers=1).blueprint.to_hugging_face()
        assert (written["activation_function"], read(written)["hidden_act"]) == (theirs, ours)
    assert read({})["max_position"] == 1024 and read({"n_inner": 7})["intermediate_size"] == 7
    with pytest.raises(ValueError, match="`scale_attn_weights` in config.json must be True"):
        read({"scale_attn_weights": False})
    assert model.variable_mapping()["Transformer-1-FeedForward-Norm"] == [
        "gpt/transformer/layer_1/input/LayerNorm/beta",
        "gpt/transformer/layer_1/input/LayerNorm/gamma",
    ]


def test_what_is_refused():
    with pytest.raises(ValueError, match='`application` must not be "unilm" for Gpt2Blueprint'):
        models.build_transformer_model(model="gpt2", **SIZES, application="unilm")
