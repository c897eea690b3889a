"""ALBERT with blocks of its own: read from ALBERT's files, written as BERT."""

import numpy as np
import pytest
from cached_steps import assert_steps_equal_the_graph
from family_checks import check_files, check_hugging_face_names, make, run

from kexue_keras import models

OPTIONS = {"embedding_size": 12, "with_mlm": "linear"}


@pytest.mark.parametrize("name", ["model.ckpt", "model.npz"])
def test_begins_as_the_shared_one(tmp_path, name):
    shared = make("albert", **OPTIONS)
    models.save_checkpoint(shared, tmp_path / name)
    model = make("albert_unshared", seed=1, **OPTIONS)
    models.load_checkpoint(model, tmp_path / name)
    np.testing.assert_allclose(run(model), run(shared), rtol=0, atol=1e-5)
    assert len(model.weights) == len(shared.weights) + 16


def test_is_written_as_a_bert(tmp_path):
    model, bert = make("albert_unshared", **OPTIONS), make("bert", seed=1, **OPTIONS)
    models.save_checkpoint(model, tmp_path / "model.npz")
    models.load_checkpoint(bert, tmp_path / "model.npz")
    np.testing.assert_allclose(run(bert), run(model), rtol=0, atol=1e-5)


def test_files(tmp_path):
    check_files("albert_unshared", tmp_path, **OPTIONS)


def test_cached_steps_equal_the_graph():
    assert_steps_equal_the_graph(make("albert_unshared", application="lm", **OPTIONS), shared=True)


def test_names_in_hugging_face_s_format():
    model = make("albert_unshared", **OPTIONS)
    layer = "encoder.albert_layer_groups.0.albert_layers.0.attention.LayerNorm"
    names = [f"{layer}.bias", f"{layer}.weight"]
    expected = {f"Transformer-{i}-MultiHeadSelfAttention-Norm": names for i in range(2)}
    check_hugging_face_names(model, expected)
    with pytest.raises(ValueError, match="must share its blocks to be written"):
        model.blueprint.to_hugging_face()
