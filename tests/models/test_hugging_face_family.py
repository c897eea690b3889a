"""What families say of Hugging Face's files."""

import pytest

from kexue_keras import models

pytestmark = pytest.mark.once

SIZES = (20, 8, 1, 2, 16)


def test_keys_that_a_configuration_lacks_are_those_of_transformers():
    found = models.BertBlueprint.from_hugging_face({"model_type": "bert", "hidden_size": 24})
    assert found == {
        "vocab_size": 30522,
        "hidden_size": 24,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "max_position": 512,
        "segment_vocab_size": 2,
        "dropout_rate": 0.1,
        "attention_dropout_rate": 0.1,
        "epsilon": 1e-12,
    }


@pytest.mark.parametrize("name", ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"])
def test_tanh_gelus_have_one_name(name):
    found = models.BertBlueprint.from_hugging_face({"hidden_act": name})
    assert found["hidden_act"] == "gelu_tanh"


def test_configuration_there_and_back():
    given = {
        "epsilon": 1e-5,
        "max_position": 16,
        "segment_vocab_size": 3,
        "dropout_rate": 0.2,
        "attention_dropout_rate": 0.3,
        "hidden_act": "gelu_tanh",
    }
    blueprint = models.BertBlueprint(*SIZES, keep_tokens=[0, 5, 3], **given)
    written = blueprint.to_hugging_face()
    assert written["model_type"] == "bert" and written["pad_token_id"] == 0
    assert written["vocab_size"] == 3 and written["hidden_act"] == "gelu_new"
    read = models.BertBlueprint.from_hugging_face(written)
    assert {name: read[name] for name in given} == given


def test_a_family_without_names_says_so():
    with pytest.raises(NotImplementedError, match="^Blueprint has no names in Hugging Face's"):
        models.Blueprint(*SIZES).hugging_face_mapping()


def test_epsilon_is_the_family_s_unless_given():
    assert models.BertBlueprint(*SIZES).epsilon == 1e-12
    model = models.Bert(*SIZES, epsilon=1e-3)
    assert model.get_layer("Embedding-Norm").epsilon == 1e-3
    assert models.Bert.from_config(model.get_config()).blueprint.epsilon == 1e-3
