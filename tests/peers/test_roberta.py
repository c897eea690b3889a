"""RoBERTa here and in transformers; ids 0 and 1 are exchanged here."""

import numpy as np
import pytest
from transformers_inputs import FAULTS, SIZES, assert_equal, token_ids

from kexue_keras.models import build_transformer_model, save_checkpoint

pytestmark = pytest.mark.peers


def test_the_same_both_ways(peer, tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    name = "RobertaForMaskedLM"
    options = {**SIZES, "max_position_embeddings": 18, "type_vocab_size": 1, "pad_token_id": 1}
    options["layer_norm_eps"] = 1e-5
    peer.run("save", folder=theirs, model=name, config="RobertaConfig", options=options)
    ids, mask = token_ids(first=2)
    ids[:, 0] = 1  # <s>, which is 0 there
    inputs = {"input_ids": np.where(ids < 2, 1 - ids, ids), "attention_mask": mask.astype("int32")}
    kept = [1, 0, *range(2, 50)]
    model = build_transformer_model(theirs, theirs, with_mlm="linear", keep_tokens=kept)
    found = model.predict_on_batch(ids)[..., kept]  # in the order of their vocabulary
    assert_equal(found, peer.run("outputs", inputs, folder=theirs, model=name)["logits"], mask)
    save_checkpoint(model, ours)
    expected = peer.run("outputs", inputs, folder=ours, model=name)
    assert not [key for fault in FAULTS for key in expected["meta"][fault]]
    assert_equal(found, expected["logits"], mask)
