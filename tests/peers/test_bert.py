"""BERT here and in transformers: equal outputs from one folder, whoever wrote it."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="`make test-peers` installs PyTorch")
transformers = pytest.importorskip("transformers")

from transformers_models import SIZES, outputs, randomized, token_ids  # noqa: E402

from kexue_keras.models import build_transformer_model, save_checkpoint  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.once]

CONFIG = {**SIZES, "type_vocab_size": 2, "attn_implementation": "eager"}


def theirs(model, ids, segments, mask):
    return outputs(model, input_ids=ids, token_type_ids=segments, attention_mask=mask)


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new"])
@pytest.mark.parametrize("name", ["BertForPreTraining", "BertForMaskedLM", "BertModel"])
def test_the_same_both_ways(tmp_path, name, hidden_act):
    config = transformers.BertConfig(**CONFIG, hidden_act=hidden_act)
    make = getattr(transformers, name)
    peer = randomized(make(config))
    peer.save_pretrained(tmp_path / "theirs")
    options = {
        "BertForPreTraining": {"with_nsp": True, "with_mlm": "linear"},
        "BertForMaskedLM": {"with_mlm": "linear"},
        "BertModel": {},
    }[name]
    ids, mask = token_ids()
    segments = np.where(np.arange(11) < 5, 0, 1)[None] * mask
    model = build_transformer_model(tmp_path / "theirs", tmp_path / "theirs", **options)
    ours = model.predict_on_batch([ids, segments.astype("int32")])
    expected = theirs(peer, ids, segments, mask)
    compare(name, ours, expected, mask)
    save_folder = tmp_path / "ours"
    save_folder.mkdir()
    save_checkpoint(model, save_folder)
    again, report = make.from_pretrained(
        save_folder, attn_implementation="eager", output_loading_info=True
    )
    # the plain model has a pooler, which our encoder does not
    missing = {key for key in report["missing_keys"] if "pooler" not in key}
    assert not missing and not report["unexpected_keys"] and not report["mismatched_keys"]
    compare(name, ours, theirs(again.eval(), ids, segments, mask), mask)


def compare(name, ours, expected, mask):
    if name == "BertModel":
        pairs = [(ours, expected["last_hidden_state"])]
    elif name == "BertForMaskedLM":
        pairs = [(ours, expected["logits"])]
    else:
        logits = expected["seq_relationship_logits"]
        probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(ours[0], probabilities, atol=1e-4)
        pairs = [(ours[1], expected["prediction_logits"])]
    for found, reference in pairs:
        assert np.abs(reference).max() > 0.5
        np.testing.assert_allclose(found[mask], reference[mask], atol=1e-4, rtol=1e-4)


def test_shards_and_half_precision(tmp_path):
    peer = randomized(transformers.BertForMaskedLM(transformers.BertConfig(**CONFIG)))
    peer.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert (tmp_path / "shards" / "model.safetensors.index.json").is_file()
    ids, mask = token_ids()
    segments = np.zeros_like(ids)
    model = build_transformer_model(tmp_path / "shards", tmp_path / "shards", with_mlm="linear")
    found = model.predict_on_batch([ids, segments])
    compare("BertForMaskedLM", found, theirs(peer, ids, segments, mask), mask)
    for dtype in ("float16", "bfloat16"):
        import torch

        half = peer.to(getattr(torch, dtype))
        half.save_pretrained(tmp_path / dtype)
        model = build_transformer_model(tmp_path / dtype, tmp_path / dtype, with_mlm="linear")
        found = model.predict_on_batch([ids, segments])
        expected = theirs(half.to(torch.float32), ids, segments, mask)
        compare("BertForMaskedLM", found, expected, mask)
