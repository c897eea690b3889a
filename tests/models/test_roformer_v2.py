"""RoFormerV2: no biases, norms without weights, against NumPy; files; cached decoding."""

import keras
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

OPTIONS = {"with_mlm": "linear", "hidden_act": "relu"}


@pytest.mark.parametrize("application", ["encoder", "lm", "unilm"])
def test_equals_the_formula(application):
    model = make("roformer_v2", application=application, embedding_size=12, **OPTIONS)
    variables = variables_of(model)
    assert not any(name.endswith(("bias", "beta", "gamma")) for name in variables)
    reference = NumpyEncoder(variables, application=application, act="relu", position="rotary")
    assert_logits_equal(model, reference)


def test_weights_and_layers():
    model = make("roformer_v2", dropout_rate=0.1, **OPTIONS)
    assert len(model.weights) == 2 + 2 * (4 + 2)
    names = [layer.name for layer in model.layers]
    assert names.index("Embedding-Dropout") < names.index("Embedding-Norm")
    assert names[-1] == "Output-MLM-Activation" and "Output-MLM-Dropout" in names
    assert not any(layer.name.startswith("MLM") for layer in model.layers)
    kernel = models.build_transformer_model(
        model="roformer_v2",
        vocab_size=500,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=256,
        hidden_act="relu",
    ).get_layer("Transformer-0-FeedForward")
    assert np.std(kernel.get_weights()[0]) == pytest.approx(1 / 8 / 2, rel=0.03)
    assert np.std(kernel.get_weights()[1]) == pytest.approx(1 / 16 / 2, rel=0.03)


@pytest.mark.parametrize(("application", "shared"), [("lm", True), ("unilm", False)])
def test_cached_steps_equal_the_graph(application, shared):
    assert_steps_equal_the_graph(make("roformer_v2", application=application, **OPTIONS), shared)


def test_beam_search():
    check_generator(make("roformer_v2", application="lm", **OPTIONS))


def test_files_and_mixed_precision(tmp_path):
    check_files("roformer_v2", tmp_path, embedding_size=12, **OPTIONS)
    check_mixed_precision("roformer_v2", **OPTIONS)


def test_logits_of_a_few_tokens():
    model = make("roformer_v2", dropout_rate=0.1, **OPTIONS)
    restricted = models.restrict_vocabulary(model, [5, 7])
    found = restricted.predict_on_batch([TOKEN_IDS, SEGMENT_IDS])
    np.testing.assert_allclose(found, run(model)[..., [5, 7]], rtol=0, atol=1e-5)


def test_names_in_hugging_face_s_format():
    model = make("roformer_v2", **OPTIONS)
    theirs = "encoder.layer.1"
    expected = {
        "Transformer-1-FeedForward": [
            f"{theirs}.intermediate.dense.weight",
            f"{theirs}.output.dense.weight",
        ]
    }
    check_hugging_face_names(model, expected)
    written = model.blueprint.to_hugging_face()
    assert (written["norm_type"], written["use_bias"]) == ("rms_norm", False)
    found = models.RoFormerV2Blueprint.from_hugging_face({})
    assert (found["hidden_act"], found["epsilon"]) == ("relu", 1e-7)
    narrow = make("roformer_v2", embedding_size=12, **OPTIONS)
    assert "Embedding-Mapping" not in narrow.blueprint.hugging_face_mapping()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"position": "relative"}, "`position` must be \"rotary\".*Received: 'relative'"),
        ({"condition_size": 3}, "`condition_size` and .* must be None in RoFormerV2.*Received: 3"),
        ({"with_pool": True}, "RoFormerV2 has no argument `with_pool`"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make("roformer_v2", **options)


def test_its_initializer_reloads():
    initializer = make("roformer_v2").blueprint.initializer
    again = keras.initializers.get(keras.initializers.serialize(initializer))
    assert again.get_config() == initializer.get_config()
