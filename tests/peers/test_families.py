"""The families around BERT here and in transformers: equal outputs from one folder, both ways."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="`make test-peers` installs PyTorch")
transformers = pytest.importorskip("transformers")

from transformers_models import SIZES, outputs, randomized, token_ids  # noqa: E402

from kexue_keras.models import build_transformer_model, save_checkpoint  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.once]

CONFIG = {**SIZES, "type_vocab_size": 2, "attn_implementation": "eager", "layer_norm_eps": 1e-12}
NARROW = {**CONFIG, "embedding_size": 12}
MLM, NSP = {"with_mlm": "linear"}, {"with_nsp": True, "with_mlm": "linear"}
REPLACED = {"with_discriminator": "linear"}
CASES = [
    ("Albert", "AlbertForPreTraining", {**NARROW, "hidden_act": "gelu"}, NSP),
    ("Albert", "AlbertForMaskedLM", {**NARROW, "hidden_act": "gelu_new"}, MLM),
    ("RoFormer", "RoFormerForMaskedLM", CONFIG, MLM),
    ("RoFormer", "RoFormerForMaskedLM", NARROW, MLM),
    ("Electra", "ElectraForPreTraining", NARROW, REPLACED),
    ("Electra", "ElectraModel", CONFIG, {}),
]


@pytest.mark.parametrize(("family", "name", "config", "options"), CASES)
def test_the_same_both_ways(tmp_path, family, name, config, options):
    make = getattr(transformers, name)
    made = make(getattr(transformers, f"{family}Config")(**config))
    # a table of sines that RoFormer keeps as a weight
    table = {k: v.clone() for k, v in made.state_dict().items() if "embed_positions" in k}
    peer = randomized(made)
    peer.load_state_dict(table, strict=False)
    peer.save_pretrained(tmp_path / "theirs")
    ids, mask = token_ids()
    segments = np.where(np.arange(11) < 5, 0, 1)[None] * mask
    model = build_transformer_model(tmp_path / "theirs", tmp_path / "theirs", model=None, **options)
    ours = model.predict_on_batch([ids, segments.astype("int32")])
    compare(ours, theirs(peer, ids, segments, mask), mask)
    (tmp_path / "ours").mkdir()
    save_checkpoint(model, tmp_path / "ours")
    again, report = make.from_pretrained(
        tmp_path / "ours", attn_implementation="eager", output_loading_info=True
    )
    missing = {key for key in report["missing_keys"] if "embed_positions" not in key}
    assert not missing and not report["unexpected_keys"] and not report["mismatched_keys"]
    compare(ours, theirs(again.eval(), ids, segments, mask), mask)


def theirs(model, ids, segments, mask):
    return outputs(model, input_ids=ids, token_type_ids=segments, attention_mask=mask)


def compare(ours, expected, mask):
    if isinstance(ours, list):
        logits = expected["sop_logits"]
        probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(ours[0], probabilities, atol=1e-4)
        ours, reference = ours[1], expected["prediction_logits"]
    else:
        reference = expected["logits" if "logits" in expected else "last_hidden_state"]
    ours = ours[..., 0] if reference.ndim == 2 else ours
    assert np.ptp(reference) > 0.5
    np.testing.assert_allclose(ours[mask], reference[mask], atol=1e-4, rtol=1e-4)
