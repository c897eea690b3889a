"""RoFormer: rotary positions, against NumPy; RoFormer-Sim; its files; cached decoding."""

import numpy as np
import pytest
from cached_steps import assert_steps_equal_the_graph
from family_checks import (
    SEGMENT_IDS,
    TOKEN_IDS,
    assert_logits_equal,
    check_files,
    check_generator,
    check_hugging_face_names,
    check_mixed_precision,
    make,
    run,
    variables_of,
)
from numpy_encoder import NumpyEncoder

from kexue_keras import models

OPTIONS = {"with_mlm": "linear"}


@pytest.mark.parametrize("application", ["encoder", "lm", "unilm"])
def test_equals_the_formula(application):
    model = make("roformer", application=application, embedding_size=12, **OPTIONS)
    reference = NumpyEncoder(variables_of(model), application=application, position="rotary")
    assert_logits_equal(model, reference)


def test_similar_sentences():
    """RoFormer-Sim: a UniLM whose pooled vector has no activation; texts of any length."""
    model = make("roformer", application="unilm", with_pool="linear", **OPTIONS)
    variables = variables_of(model)
    reference = NumpyEncoder(variables, application="unilm", position="rotary")
    pooled, _ = run(model)
    first = np.stack(
        [reference.hidden(*row)[0] for row in zip(TOKEN_IDS, SEGMENT_IDS, strict=True)]
    )
    expected = reference.dense(first, "bert/pooler/dense")
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-4)
    long = np.tile(TOKEN_IDS[:1, :7], (1, 5)), np.zeros((1, 35), "int32")
    np.testing.assert_allclose(
        run(model, *long)[1][0], reference.logits(long[0][0], long[1][0]), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(("application", "shared"), [("lm", True), ("unilm", False)])
def test_cached_steps_equal_the_graph(application, shared):
    assert_steps_equal_the_graph(make("roformer", application=application, **OPTIONS), shared)


def test_beam_search():
    check_generator(make("roformer", application="unilm", **OPTIONS))


def test_files_and_mixed_precision(tmp_path):
    check_files("roformer", tmp_path, **OPTIONS)
    check_mixed_precision("roformer", **OPTIONS)


def test_names_in_hugging_face_s_format():
    model = make("roformer", with_pool="linear", embedding_size=12, **OPTIONS)
    expected = {
        "Embedding-Mapping": ["embeddings_project.weight", "embeddings_project.bias"],
        "Pooler-Dense": ["pooler.dense.weight", "pooler.dense.bias"],
        "MLM-Bias": ["cls.predictions.bias"],
    }
    check_hugging_face_names(model, expected)
    found = models.RoFormerBlueprint.from_hugging_face({})
    assert (found["vocab_size"], found["max_position"]) == (50000, 1536)
    assert model.blueprint.to_hugging_face()["rotary_value"] is False


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rotary_value": True}, "`rotary_value` must be false.*Received: true"),
        ({"norm_type": "rms_norm"}, '`model` must be "roformer_v2"'),
        ({"use_bias": False}, '`model` must be "roformer_v2"'),
    ],
)
def test_other_configurations_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        models.RoFormerBlueprint.from_hugging_face(config)


def test_bad_options():
    with pytest.raises(ValueError, match="`position` must be \"rotary\".*Received: 'learned'"):
        make("roformer", position="learned")
    with pytest.raises(ValueError, match="`attention_head_size` must be even .* Received: 5"):
        make("roformer", attention_head_size=5)
