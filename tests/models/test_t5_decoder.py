"""T5's decoder alone."""

import keras
import numpy as np
import pytest
from generative_checks import FIRST, make, run
from keras import ops

from kexue_keras import decoding, models

OPTIONS = {"with_lm": "linear", "cross_position_bias": True, "attention_head_size": 6}


def test_reads_what_the_whole_model_wrote_and_reloads(tmp_path):
    whole, alone = make("mt5.1.1", **OPTIONS), make("mt5.1.1_decoder", 1, **OPTIONS)
    models.save_checkpoint(whole, tmp_path / "model.ckpt")
    models.load_checkpoint(alone, tmp_path / "model.ckpt")
    assert [x.name for x in alone.inputs] == ["Input-Context", "Decoder-Input-Token"]
    encoded = whole.blueprint.encoder([FIRST])
    expected = run(whole, FIRST, FIRST)
    found = ops.convert_to_numpy(alone([encoded, ops.convert_to_tensor(FIRST)]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # arrays have no mask: of what is padded, nothing is hidden
    arrays = run(alone, ops.convert_to_numpy(encoded), FIRST)
    assert np.abs(arrays[0] - expected[0]).max() > 1e-3
    alone.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(run(again, ops.convert_to_numpy(encoded), FIRST), arrays, atol=1e-6)


def test_it_cannot_generate_alone():
    with pytest.raises(ValueError, match="`model` must have an encoder.*Received: a decoder"):
        decoding.Generator(make("t5_decoder"), end_id=3)
