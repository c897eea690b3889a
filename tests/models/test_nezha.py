"""NEZHA: distances in scores and values, against NumPy; its files; cached decoding."""

import h5py
import numpy as np
import pytest
from cached_steps import assert_steps_equal_the_graph, randomize
from family_checks import (
    assert_logits_equal,
    check_files,
    check_generator,
    check_hugging_face_names,
    check_mixed_precision,
    make,
    variables_of,
)
from numpy_encoder import NumpyEncoder

from kexue_keras import models

OPTIONS = {"with_mlm": "linear"}


@pytest.mark.parametrize("application", ["encoder", "lm", "unilm"])
def test_equals_the_formula(application):
    model = make("nezha", application=application, embedding_size=12, **OPTIONS)
    reference = NumpyEncoder(variables_of(model), application=application, position="relative")
    assert_logits_equal(model, reference)


@pytest.mark.parametrize(("longest", "length"), [(64, 70), (3, 8)])
def test_long_distances_are_one(longest, length):
    """Beyond `max_position` too, which is 16."""
    model = make("nezha", max_relative_position=longest, **OPTIONS)
    generator = np.random.default_rng(0)
    ids, segments = generator.integers(1, 20, (1, length)), np.zeros((1, length), "int32")
    variables = variables_of(model)
    reference = NumpyEncoder(variables, position="relative", longest=longest)
    assert_logits_equal(model, reference, ids, segments)
    other = NumpyEncoder(variables, position="relative", longest=longest + 1)
    difference = other.logits(ids[0], segments[0]) - reference.logits(ids[0], segments[0])
    assert np.abs(difference).max() > 1e-3


@pytest.mark.parametrize(("application", "shared"), [("lm", True), ("unilm", False)])
def test_cached_steps_equal_the_graph(application, shared):
    model = make("nezha", application=application, max_relative_position=3, **OPTIONS)
    assert_steps_equal_the_graph(model, shared)


def test_beam_search():
    check_generator(make("nezha", application="unilm", **OPTIONS))


def test_files_and_mixed_precision(tmp_path):
    check_files("nezha", tmp_path, max_relative_position=5, **OPTIONS)
    check_mixed_precision("nezha", **OPTIONS)


def test_the_table_is_in_files_of_bert4keras_and_no_weight(tmp_path):
    model = make("nezha", **OPTIONS)
    assert len(model.weights) == 2 + 2 + 2 * (8 + 2 + 4 + 2) + 2 + 2 + 1
    models.save_bert4keras_weights(model, tmp_path / "model.h5")
    shorter = make("nezha", max_relative_position=5, **OPTIONS)
    message = r"Embedding-Relative-Position/embeddings has shape \(129, 8\).*\(11, 8\)"
    with pytest.raises(models.CheckpointError, match=message):
        models.load_bert4keras_weights(shorter, tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        table = file["Embedding-Relative-Position/Embedding-Relative-Position/embeddings:0"]
        table[3, 0] += 0.1
    before = model.get_weights()
    with pytest.raises(models.CheckpointError, match="model.h5: .* must be the fixed table.*0.1"):
        models.load_bert4keras_weights(randomize(model, 5), tmp_path / "model.h5")
    assert all(np.any(x != y) for x, y in zip(before, model.get_weights(), strict=True))


def test_names_in_hugging_face_s_format():
    model = make("nezha", max_relative_position=7, **OPTIONS)
    check_hugging_face_names(model, {"Embedding-Token": ["embeddings.word_embeddings.weight"]})
    assert model.blueprint.to_hugging_face()["max_relative_position"] == 7
    found = models.NezhaBlueprint.from_hugging_face({"max_relative_position": 127})
    assert found["max_relative_position"] == 127 and found["vocab_size"] == 21128
    assert models.NezhaBlueprint.from_hugging_face({})["max_relative_position"] == 64


def test_bad_options():
    with pytest.raises(ValueError, match="`position` must be \"relative\".*Received: 'rotary'"):
        make("nezha", position="rotary")
    with pytest.raises(ValueError, match="`max_distance` must be at least 1. Received: 0"):
        make("nezha", max_relative_position=0)
