"""GPT, GPT-2 and T5 here and in transformers: equal outputs from one folder, whoever wrote it."""

import numpy as np
import pytest
from cached_steps import randomize
from transformers_inputs import FAULTS, assert_equal, token_ids

from kexue_keras.models import build_transformer_model, save_checkpoint

pytestmark = pytest.mark.peers

IDS, MASK = token_ids()
TARGETS = np.concatenate([np.zeros((2, 1), "int32"), token_ids(lengths=(6, 6), seed=1)[0]], axis=1)
GPT = {"vocab_size": 50, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 16}
T5 = {"vocab_size": 50, "d_model": 24, "num_layers": 2, "num_heads": 4, "d_kv": 8, "d_ff": 48}
THEIRS = {
    "OpenAIGPTLMHeadModel": ("OpenAIGPTConfig", GPT),
    "GPT2LMHeadModel": ("GPT2Config", {**GPT, "n_inner": 48, "activation_function": "gelu_new"}),
    "T5ForConditionalGeneration": ("T5Config", {**T5, "num_decoder_layers": 3}),
}
SIZES = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}
OURS = [
    ("gpt", "OpenAIGPTLMHeadModel", {"segment_vocab_size": 0, "max_position": 16}),
    ("gpt2", "GPT2LMHeadModel", {"hidden_act": "gelu_erf", "max_position": 16}),
    ("t5", "T5ForConditionalGeneration", {"attention_head_size": 8}),
    ("t5.1.1", "T5ForConditionalGeneration", {"num_decoder_layers": 1}),
    ("mt5.1.1", "MT5ForConditionalGeneration", {}),
]


def linear(name):
    return {"with_lm": "linear"} if "T5" in name else {"final_activation": "linear"}


def compare(peer, folder, name, model):
    """The outputs of `model` and of theirs, of the class `name`, from the folder."""
    inputs = {"input_ids": IDS, "attention_mask": MASK.astype("int32")}
    if "T5" not in name:
        found = peer.run("outputs", inputs, folder=folder, model=name)
        assert_equal(model.predict_on_batch(IDS), found["logits"], MASK)
        return found["meta"]
    inputs["decoder_input_ids"] = TARGETS
    inputs["decoder_attention_mask"] = np.ones_like(TARGETS)
    found = peer.run("outputs", inputs, folder=folder, model=name)
    ours = model.predict_on_batch([IDS, TARGETS])
    assert_equal(ours, found["logits"], np.ones(TARGETS.shape, bool))
    return found["meta"]


@pytest.mark.parametrize("name", THEIRS)
def test_we_read_what_they_wrote(peer, tmp_path, name):
    config, options = THEIRS[name]
    folder = tmp_path / "theirs"
    folder.mkdir()
    peer.run("save", folder=folder, model=name, config=config, options=options)
    compare(peer, folder, name, build_transformer_model(folder, folder, **linear(name)))


@pytest.mark.parametrize(("family", "name", "options"), OURS)
def test_they_read_what_we_wrote(peer, tmp_path, family, name, options):
    model = build_transformer_model(model=family, **SIZES, **options, **linear(name))
    randomize(model)
    folder = tmp_path / "ours"
    folder.mkdir()
    save_checkpoint(model, folder)
    report = compare(peer, folder, name, model)
    assert not any(report[fault] for fault in FAULTS)
