"""What holds for a family that says nothing else."""

import keras
from generative_checks import SIZES

from kexue_keras import models
from kexue_keras.models.family_hooks import FamilyHooks


def test_what_holds_for_bert():
    blueprint = models.BertBlueprint(**SIZES)
    assert (blueprint.length_limit, blueprint.segment_vocab_size) == (20, 2)
    assert blueprint.hidden_activation == "gelu"
    assert not (blueprint.has_position_bias or blueprint.has_memory_bias)
    assert not (blueprint.has_encoder or blueprint.reads_context)
    assert blueprint.position_bias(None, None) is blueprint.memory_bias(None, None) is None


def test_no_limit_of_length_without_learned_positions():
    assert models.BertBlueprint(**SIZES, position="rotary").length_limit is None


def test_gelu_is_what_the_family_says():
    class Tanh(models.BertBlueprint):
        gelu = "gelu_tanh"

    for given, expected in [
        ("gelu", "gelu_tanh"),
        ("relu", "relu"),
        (["gelu", "linear"], ["gelu_tanh", "linear"]),
        (keras.activations.silu, keras.activations.silu),
    ]:
        assert Tanh(**SIZES, hidden_act=given).hidden_activation == expected


def test_a_bias_is_noticed():
    class Biased(FamilyHooks):
        def position_bias(self, query_positions, key_positions):
            return 0

    assert Biased().has_position_bias
