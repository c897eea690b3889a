"""RoBERTa here and in transformers; ids 0 and 1 are exchanged here."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="`make test-peers` installs PyTorch")
transformers = pytest.importorskip("transformers")

from transformers_models import SIZES, outputs, randomized, token_ids  # noqa: E402

from kexue_keras.models import build_transformer_model, save_checkpoint  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.once]


def test_the_same_both_ways(tmp_path):
    config = transformers.RobertaConfig(
        **{**SIZES, "max_position_embeddings": 18},
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        attn_implementation="eager",
    )
    peer = randomized(transformers.RobertaForMaskedLM(config))
    peer.save_pretrained(tmp_path / "theirs")
    ids, mask = token_ids(first=2)
    ids[:, 0] = 1  # <s>, which is 0 there
    exchanged = np.where(ids < 2, 1 - ids, ids)
    kept = [1, 0, *range(2, 50)]
    model = build_transformer_model(
        tmp_path / "theirs", tmp_path / "theirs", with_mlm="linear", keep_tokens=kept
    )
    found = model.predict_on_batch(ids)[..., kept]  # in the order of their vocabulary
    expected = outputs(peer, input_ids=exchanged, attention_mask=mask)["logits"]
    np.testing.assert_allclose(found[mask], expected[mask], atol=1e-4, rtol=1e-4)
    (tmp_path / "ours").mkdir()
    save_checkpoint(model, tmp_path / "ours")
    again, report = transformers.RobertaForMaskedLM.from_pretrained(
        tmp_path / "ours", attn_implementation="eager", output_loading_info=True
    )
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    expected = outputs(again.eval(), input_ids=exchanged, attention_mask=mask)["logits"]
    np.testing.assert_allclose(found[mask], expected[mask], atol=1e-4, rtol=1e-4)
