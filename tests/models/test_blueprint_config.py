"""Arguments of families: their names, and which do not go together."""

import pytest

from kexue_keras import models
from kexue_keras.models.blueprint_config import check_config, parameters_of

pytestmark = pytest.mark.once


def test_a_family_has_its_own_arguments_and_those_of_all():
    found = parameters_of(models.BertBlueprint)
    assert list(found)[:5] == [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
    ]
    assert {"with_pool", "with_nsp", "keep_tokens", "dtype"} <= set(found)
    assert not {"self", "args", "kwargs"} & set(found)
    assert found["max_position"].default == 512


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": "sinusoidal"}, "`position` must be one of .*Received: 'sinusoidal'"),
        ({"num_features": 0}, "`num_features` must be at least 1. Received: 0"),
        ({"num_features": 4, "position": "rotary"}, "`position` must be .*Received: 'rotary'"),
        ({"num_features": 4, "application": "unilm"}, '`num_features` must be None for "unilm"'),
        ({"num_features": 4, "normalizer": "taylor_softmax"}, "must be left out"),
        ({"hidden_size": 9}, "`num_attention_heads` must divide `hidden_size` 9. Received: 2"),
        ({"target_positions": True}, "`target_positions` needs `with_mlm`"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    config = models.BertBlueprint(20, 8, 1, 2, 16).get_config()
    check_config(config)
    with pytest.raises(ValueError, match=message):
        check_config(config | changes)
