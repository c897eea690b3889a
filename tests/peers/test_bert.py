"""BERT here and in transformers: equal outputs from one folder, whoever wrote it."""

import numpy as np
import pytest
from transformers_inputs import FAULTS, SIZES, assert_equal, token_ids

from kexue_keras.models import build_transformer_model, save_checkpoint

pytestmark = pytest.mark.peers

OPTIONS = {
    "BertForPreTraining": {"with_nsp": True, "with_mlm": "linear"},
    "BertForMaskedLM": {"with_mlm": "linear"},
    "BertModel": {},
}
IDS, MASK = token_ids()
SEGMENTS = (np.where(np.arange(11) < 5, 0, 1)[None] * MASK).astype("int32")
INPUTS = {"input_ids": IDS, "token_type_ids": SEGMENTS, "attention_mask": MASK.astype("int32")}


def written_by(peer, folder, name, options=None, **saving):
    folder.mkdir()
    config = {**SIZES, "type_vocab_size": 2, **(options or {})}
    files = peer.run(
        "save", folder=folder, model=name, config="BertConfig", options=config, **saving
    )
    return files["meta"]


def compare(name, ours, expected):
    if name == "BertForPreTraining":
        logits = expected["seq_relationship_logits"]
        probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(ours[0], probabilities, atol=1e-4)
        assert_equal(ours[1], expected["prediction_logits"], MASK)
        return
    output = "logits" if name == "BertForMaskedLM" else "last_hidden_state"
    assert_equal(ours, expected[output], MASK)


@pytest.mark.parametrize(
    ("name", "hidden_act"),
    [
        ("BertForPreTraining", "gelu"),
        ("BertForPreTraining", "gelu_new"),
        ("BertForMaskedLM", "gelu"),
        ("BertModel", "gelu"),
    ],
)
def test_the_same_both_ways(peer, tmp_path, name, hidden_act):
    written_by(peer, tmp_path / "theirs", name, {"hidden_act": hidden_act})
    model = build_transformer_model(tmp_path / "theirs", tmp_path / "theirs", **OPTIONS[name])
    ours = model.predict_on_batch([IDS, SEGMENTS])
    compare(name, ours, peer.run("outputs", INPUTS, folder=tmp_path / "theirs", model=name))
    (tmp_path / "ours").mkdir()
    save_checkpoint(model, tmp_path / "ours")
    expected = peer.run("outputs", INPUTS, folder=tmp_path / "ours", model=name)
    # their plain model always has a pooler
    faults = [key for fault in FAULTS for key in expected["meta"][fault] if "pooler" not in key]
    assert not faults
    compare(name, ours, expected)


@pytest.mark.parametrize(
    "saving", [{"max_shard_size": "20KB"}, {"dtype": "float16"}, {"dtype": "bfloat16"}]
)
def test_shards_and_half_precision(peer, tmp_path, saving):
    name, folder = "BertForMaskedLM", tmp_path / "theirs"
    files = written_by(peer, folder, name, **saving)
    assert ("model.safetensors.index.json" in files) == ("max_shard_size" in saving)
    model = build_transformer_model(folder, folder, with_mlm="linear")
    found = model.predict_on_batch([IDS, SEGMENTS])
    compare(name, found, peer.run("outputs", INPUTS, folder=folder, model=name))
