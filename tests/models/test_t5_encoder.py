"""T5's encoder alone."""

import numpy as np
import pytest
from generative_checks import FIRST, SIZES, check_reload, make, run
from numpy_decoder import NumpyDecoder, gelu_tanh

from kexue_keras import decoding, models


def test_equals_the_formula_and_reloads(tmp_path):
    model = make("t5.1.1_encoder", with_lm=True, cross_position_bias=True)
    reference = NumpyDecoder(model, epsilon=1e-6, act=gelu_tanh)
    for found, ids in zip(run(model), FIRST, strict=True):
        seen = ((ids != 0) | (np.arange(8) == 0))[None]
        expected = reference.stack("Encoder", ids, seen, reference.bias("Encoder", 8, 8))
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert [x.name for x in model.inputs] == ["Encoder-Input-Token"]
    check_reload(model, tmp_path)


def test_reads_what_the_whole_model_wrote(tmp_path):
    whole, alone = make("t5", attention_head_size=6), make("t5_encoder", 1, attention_head_size=6)
    models.save_checkpoint(whole, tmp_path / "model.ckpt")
    models.load_checkpoint(alone, tmp_path / "model.ckpt")
    np.testing.assert_allclose(run(alone), run(whole.blueprint.encoder), atol=1e-6)


def test_a_condition_is_the_last_input():
    model = make("t5_encoder", condition_size=3)
    assert [x.name for x in model.inputs] == ["Encoder-Input-Token", "Input-Condition"]


def test_what_is_refused():
    with pytest.raises(ValueError, match="`with_mlm` must be left out for T5's encoder"):
        models.build_transformer_model(model="t5_encoder", **SIZES, with_mlm=True)
    with pytest.raises(ValueError, match="`model` .*application .*Received: an encoder"):
        decoding.Generator(make("t5_encoder"), end_id=3)
