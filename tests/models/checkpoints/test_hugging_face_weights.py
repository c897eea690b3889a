"""Tensors of one file or of shards, under their new names."""

import numpy as np
import pytest
from hugging_face_files import write_shards
from safetensors.numpy import save_file

from kexue_keras.models import CheckpointError
from kexue_keras.models.checkpoints.hugging_face_weights import HuggingFaceWeights

pytestmark = pytest.mark.once


def test_old_names_have_new_ones(tmp_path):
    path = tmp_path / "model.safetensors"
    names = ["module.a.LayerNorm.gamma", "b.layer_norm.beta", "gau.q_scaleoffset.gamma", "ln.beta"]
    save_file({name: np.full(2, i, "float32") for i, name in enumerate(names)}, path)
    with HuggingFaceWeights(path) as file:
        assert set(file.keys()) == {
            "a.LayerNorm.weight",
            "b.layer_norm.bias",
            "gau.q_scaleoffset.gamma",
            "ln.beta",
        }
        assert file.read("a.LayerNorm.weight")[0] == 0 and file.shape("b.layer_norm.bias") == (2,)
        file.check("ln.beta")
        assert "b.layer_norm.beta" not in file
        with pytest.raises(CheckpointError, match="has no tensor c among its 4"):
            file.read("c")


def test_a_name_that_is_new_goes_before_an_old_one(tmp_path):
    path = tmp_path / "model.safetensors"
    for names in (["x.norm.gamma", "x.norm.weight"], ["x.norm.weight", "x.norm.gamma"]):
        save_file({n: np.full(1, n.endswith("weight"), "float32") for n in names}, path)
        with HuggingFaceWeights(path) as file:
            assert file.read("x.norm.weight") == 1


def test_shards_are_one(tmp_path):
    tensors = {f"t{i}": np.full((i,), i, "float32") for i in range(5)}
    with HuggingFaceWeights(write_shards(tmp_path, tensors, 3)) as file:
        assert sorted(file.keys()) == sorted(tensors)
        for name, value in tensors.items():
            np.testing.assert_array_equal(file.read(name), value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "has no `weight_map`"),
        ('{"weight_map": {"a": 1}}', "has no `weight_map` of file names"),
        ('{"weight_map": {"a": "../b.safetensors"}}', "must name files of its own folder"),
        ('{"weight_map": {"a": "b.safetensors"}}', "b.safetensors is missing: .* needs it"),
        ('{"weight_map": {"a": "c.safetensors"}}', "c.safetensors has no tensor a, .* needs it"),
    ],
)
def test_wrong_indices(tmp_path, text, message):
    save_file({"x": np.zeros(1)}, tmp_path / "c.safetensors")
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        HuggingFaceWeights(path)


def test_no_index(tmp_path):
    with pytest.raises(CheckpointError, match="index.json cannot be opened: No such file"):
        HuggingFaceWeights(tmp_path / "model.safetensors.index.json")
