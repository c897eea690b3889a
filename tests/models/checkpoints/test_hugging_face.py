"""Names in Hugging Face's files, and parts joined to what the file has."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from kexue_keras.models import BertBlueprint, Transformer
from kexue_keras.models.checkpoints import hugging_face
from kexue_keras.models.checkpoints.checkpoint_variable import (
    CheckpointVariable,
    hugging_face_variables,
)
from kexue_keras.models.checkpoints.names import Either, Part, Transposed, of_layer_norm

pytestmark = pytest.mark.once


def bert(family=BertBlueprint, **options):
    return Transformer(family(20, 8, 1, 2, 12, max_position=16, **options))


def test_prefixes_stand_before_names_of_the_base_model_only():
    blueprint = bert().blueprint

    def found(name):
        return list(hugging_face.candidates(CheckpointVariable(name, None, blueprint)))

    assert found("pooler.dense.bias") == ["bert.pooler.dense.bias", "pooler.dense.bias"]
    assert found(Transposed(Either("cls.a", "cls.b"))) == ["cls.a", "cls.b"]


def test_parts_are_joined(tmp_path):
    model = bert()
    values = np.arange(18.0, dtype="float32").reshape(3, 6)
    targets = [
        CheckpointVariable(Part("c", i, 3), keras.Variable(values[:, 2 * i : 2 * i + 2]), b)
        for i, b in ((1, model.blueprint), (0, model.blueprint), (2, model.blueprint))
    ]
    hugging_face.write(model, tmp_path / "a.safetensors", targets)
    np.testing.assert_array_equal(load_file(tmp_path / "a.safetensors")["bert.c"], values)


def test_norms_of_keras_are_told_apart_too():
    """Keras has its gain first, our table bert4keras's order."""

    class WithKerasNorms(BertBlueprint):
        def norm(self, x, name):
            return self.layer(name, keras.layers.LayerNormalization, epsilon=1e-12)(x)

    for family in (WithKerasNorms, BertBlueprint):
        model = bert(family)
        norm = model.get_layer("Embedding-Norm")
        names = {id(t.variable): t.name for t in hugging_face_variables(model)}
        offset, gain = of_layer_norm("embeddings.LayerNorm")
        assert names[id(norm.beta)] == offset and names[id(norm.gamma)] == gain
