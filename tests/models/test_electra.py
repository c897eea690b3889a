"""ELECTRA's discriminator, against NumPy; its files."""

import numpy as np
import pytest
from family_checks import (
    SEGMENT_IDS,
    TOKEN_IDS,
    check_files,
    check_hugging_face_names,
    check_mixed_precision,
    make,
    run,
    variables_of,
)
from numpy_encoder import ACTIVATIONS, NumpyEncoder

from kexue_keras import decoding, models

OPTIONS = {"embedding_size": 12, "with_discriminator": "linear"}


def reference_logits(model):
    mapping = "electra/embeddings_project"
    reference = NumpyEncoder(variables_of(model), root="electra", mapping=mapping)
    head, found = "discriminator_predictions", []
    for row in zip(TOKEN_IDS, SEGMENT_IDS, strict=True):
        x = ACTIVATIONS["gelu"](reference.dense(reference.hidden(*row), f"{head}/dense"))
        found.append(reference.dense(x, f"{head}/dense_1"))
    return np.stack(found)


def test_equals_the_formula():
    model = make("electra", **OPTIONS)
    expected = reference_logits(model)
    np.testing.assert_allclose(run(model), expected, rtol=0, atol=1e-4)
    assert expected.shape == (2, 8, 1) and np.ptp(expected) > 1
    probable = make("electra", embedding_size=12, with_discriminator=True)
    np.testing.assert_allclose(run(probable), 1 / (1 + np.exp(-expected)), rtol=0, atol=1e-5)


def test_hidden_states():
    model = make("electra")
    assert model.output.shape == (None, None, 16)
    names = {layer.name for layer in model.layers}
    assert not names & {"Discriminator-Dense", "Embedding-Mapping", "Pooler-Dense"}


def test_files_and_mixed_precision(tmp_path):
    check_files("electra", tmp_path, **OPTIONS)
    check_mixed_precision("electra", **OPTIONS)


def test_names_in_hugging_face_s_format():
    model = make("electra", **OPTIONS)
    head = "discriminator_predictions"
    expected = {
        "Embedding-Mapping": ["embeddings_project.weight", "embeddings_project.bias"],
        "Discriminator-Prediction": [
            f"{head}.dense_prediction.weight",
            f"{head}.dense_prediction.bias",
        ],
    }
    check_hugging_face_names(model, expected)
    found = models.ElectraBlueprint.from_hugging_face({})
    assert (found["embedding_size"], found["hidden_size"]) == (128, 256)
    # whose default there is not the hidden size
    assert make("electra").blueprint.to_hugging_face()["embedding_size"] == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"application": "lm"}, "`application` must be 'encoder' in ELECTRA.*Received: 'lm'"),
        ({"with_mlm": "linear"}, "`with_mlm` must be False in ELECTRA.*Received: 'linear'"),
        ({"with_pool": True}, "Electra has no argument `with_pool`"),
    ],
)
def test_it_is_no_language_model(options, message):
    with pytest.raises(ValueError, match=message):
        make("electra", **options)


def test_it_does_not_generate():
    with pytest.raises(ValueError, match="`model` must be a language model"):
        decoding.Generator(make("electra"), end_id=3, maxlen=4)
