"""Names of families."""

import pytest

from kexue_keras import models
from kexue_keras.models.families import (
    FAMILIES,
    OF_HUGGING_FACE,
    arguments_in,
    family_of_name,
)


def test_every_family_of_hugging_face_reads_its_type():
    for name, family in OF_HUGGING_FACE.items():
        assert family.reads_type(name)
        assert family_of_name(None, name) is family_of_name(name, name) is family
    assert family_of_name(None) is family_of_name("roberta") is models.BertBlueprint
    assert family_of_name(models.T5Blueprint) is models.T5Blueprint


def test_names_of_t5():
    assert family_of_name("t5") is family_of_name("mt5.1.1") is models.T5Blueprint
    assert family_of_name("t5.1.1_encoder") is models.T5EncoderBlueprint
    assert family_of_name("t5_decoder") is models.T5DecoderBlueprint
    versions = {name: arguments_in(name).get("version") for name in FAMILIES}
    assert versions["t5"] == versions["t5_encoder"] == versions["t5.1.0_decoder"] == "t5.1.0"
    assert versions["t5.1.1"] == "t5.1.1" and versions["mt5.1.1_encoder"] == "mt5.1.1"
    assert versions["gpt2"] is None and arguments_in(models.T5Blueprint) == {}


def test_unknown_names():
    with pytest.raises(ValueError, match="`model` must be one of .*'gpt2_ml'.*Received: 'bart'"):
        family_of_name("bart")
    with pytest.raises(ValueError, match="`model` must be given .*Received: model_type='bart'"):
        family_of_name(None, "bart", "config.json")
