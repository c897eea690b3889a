"""GPT, GPT-2, GPT2_ML and T5 against bert4keras's, on random checkpoints that we write.

Where bert4keras differs from the code that the models were trained with, ours is that code: the
tests at the end say what it takes to be bert4keras, and how far apart the two are.
"""

import numpy as np
import pytest
from cached_steps import randomize

from kexue_keras.models import (
    build_transformer_model,
    load_bert4keras_weights,
    load_checkpoint,
    save_bert4keras_weights,
    save_checkpoint,
)

pytestmark = pytest.mark.parity

SIZES = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "hidden_act": "gelu",
    "max_position": 16,
    "final_activation": "linear",
}
T5_SIZES = {
    **{name: SIZES[name] for name in list(SIZES)[:5]},
    "attention_head_size": 8,
    "with_lm": "linear",
    "cross_position_bias": False,
}
GATED = {**T5_SIZES, "hidden_act": ["gelu", "linear"]}
T5 = {
    "t5.1.0": {**T5_SIZES, "hidden_act": "relu"},
    "t5.1.1": GATED,
    "mt5.1.1": {**GATED, "cross_position_bias": True},
}
GPT = {
    "gpt": {"model": "gpt", **SIZES, "segment_vocab_size": 2},
    "gpt, unilm": {"model": "gpt", **SIZES, "segment_vocab_size": 2, "application": "unilm"},
    "gpt, speakers": {
        "model": "gpt",
        **SIZES,
        "segment_vocab_size": 3,
        "shared_segment_embeddings": True,
    },
    "gpt without segments": {"model": "gpt", **SIZES, "segment_vocab_size": 0},
    "gpt2": {"model": "gpt2", **SIZES},
    "gpt2_ml": {"model": "gpt2_ml", **SIZES, "num_hidden_layers": 11},
}
RNG = np.random.default_rng(5)
TOKEN_IDS = RNG.integers(1, 50, (3, 9)).astype("int32")
TOKEN_IDS[1, 6:] = 0
SEGMENT_IDS = (np.arange(9) > 4).astype("int32") * (TOKEN_IDS > 0)
START = np.concatenate([np.zeros((3, 1), "int32"), RNG.integers(1, 50, (3, 5))], 1).astype("int32")
ROWS = {"token_ids": TOKEN_IDS, "segment_ids": SEGMENT_IDS}
PAIRS = {"token_ids": TOKEN_IDS, "segment_ids": START}


def make(seed=3, scale=0.5, **options):
    model = randomize(build_transformer_model(**options), seed)
    for variable in model.weights:
        if "gamma" not in variable.name:
            variable.assign(scale * variable)
    return model


def ours(model, rows):
    inputs = [rows["token_ids"], rows["segment_ids"]][: len(model.inputs)]
    return model.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])


def theirs(bert4keras, path, rows, gelu="tanh", **options):
    return bert4keras.run("predict", rows, checkpoint_path=path, gelu=gelu, **options)["output_0"]


def distance(x, y):
    assert x.shape == y.shape
    return np.abs(x - y).max()


def assert_same(x, y):
    assert np.ptp(y) > 0.5
    assert distance(x, y) < 1e-5 * max(1, np.abs(y).max())


@pytest.mark.parametrize("name", GPT)
def test_gpt(bert4keras, tmp_path, name):
    options, rows = GPT[name], dict(ROWS)
    if "speakers" in name:
        rows["segment_ids"] = np.where(SEGMENT_IDS, 7, 9)
    model = make(**options, epsilon=1e-12 if options["model"] == "gpt" else 1e-5)
    save_checkpoint(model, tmp_path / "model.ckpt")
    gelu = "erf" if options["model"] == "gpt2_ml" else "tanh"
    found = theirs(bert4keras, tmp_path / "model.ckpt", rows, gelu, **options)
    assert_same(ours(model, rows), found)


@pytest.mark.parametrize("version", T5)
def test_t5(bert4keras, tmp_path, version):
    options = {"model": version, **T5[version]}
    model = make(**options, scale_output=True)
    save_checkpoint(model, tmp_path / "model.ckpt")
    found = theirs(bert4keras, tmp_path / "model.ckpt", PAIRS, **options)
    assert_same(ours(model, PAIRS), found)


@pytest.mark.parametrize("version", ["t5", "mt5.1.1"])
def test_encoder_and_decoder_alone(bert4keras, tmp_path, version):
    whole = {"model": version, **T5["t5.1.0" if version == "t5" else version]}
    model = make(**whole)
    save_checkpoint(model, tmp_path / "model.ckpt")
    encoder = {**whole, "model": f"{version}_encoder"}
    found = theirs(bert4keras, tmp_path / "model.ckpt", PAIRS, **encoder)
    alone = build_transformer_model(checkpoint_path=tmp_path / "model.ckpt", **encoder)
    assert_same(alone.predict_on_batch(TOKEN_IDS), found)
    assert_same(model.blueprint.encoder.predict_on_batch(TOKEN_IDS), found)
    pairs = {"token_ids": found, "segment_ids": START}
    decoder = {**whole, "model": f"{version}_decoder"}
    found = theirs(bert4keras, tmp_path / "model.ckpt", pairs, **decoder)
    alone = build_transformer_model(checkpoint_path=tmp_path / "model.ckpt", **decoder)
    assert_same(ours(alone, pairs), found)
    assert_same(ours(model.blueprint.decoder, pairs), found)


def test_long_texts_of_t5(bert4keras, tmp_path):
    """Longer than the distance from which on all are of one range, on both sides."""
    options = {"model": "mt5.1.1", **T5["mt5.1.1"], "num_hidden_layers": 1}
    model = make(**options)
    save_checkpoint(model, tmp_path / "model.ckpt")
    pairs = {
        "token_ids": RNG.integers(1, 50, (1, 150)),
        "segment_ids": RNG.integers(1, 50, (1, 140)),
    }
    found = theirs(bert4keras, tmp_path / "model.ckpt", pairs, **options)
    assert_same(ours(model, pairs), found)


@pytest.mark.parametrize("name", ["gpt, speakers", "gpt2", "t5.1.0", "t5.1.1"])
def test_kept_tokens(bert4keras, tmp_path, name):
    options = GPT[name] if name in GPT else {"model": name, **T5[name]}
    kept = [0, 3, 2, 9, 11, 30, 31, 49, 7, 8]
    more = {"scale_output": True} if name in T5 else {"epsilon": 1e-12 if "," in name else 1e-5}
    save_checkpoint(make(**options, **more), tmp_path / "model.ckpt")
    rows = {"token_ids": TOKEN_IDS % 10, "segment_ids": (START if name in T5 else TOKEN_IDS) % 10}
    small = build_transformer_model(
        checkpoint_path=tmp_path / "model.ckpt", keep_tokens=kept, **options, **more
    )
    found = theirs(bert4keras, tmp_path / "model.ckpt", rows, keep_tokens=kept, **options)
    assert found.shape[-1] == 10
    assert_same(ours(small, rows), found)


@pytest.mark.parametrize("name", ["model.h5", "model.weights.h5", "best_model.weights"])
@pytest.mark.parametrize("family", ["gpt", "gpt2", "gpt2_ml", "t5.1.0", "mt5.1.1"])
def test_weight_files(bert4keras, tmp_path, family, name):
    options = GPT[family] if family in GPT else {"model": family, **T5[family]}
    rows = ROWS if family in GPT else PAIRS
    options = {**options, "dropout_rate": 0.1, "num_hidden_layers": 2}
    more = {"epsilon": 1e-12} if family == "gpt" else {}
    model = make(**options, **more)
    save_checkpoint(model, tmp_path / "model.ckpt")
    again, path = make(**options, **more, seed=4), tmp_path / name
    bert4keras.run("save_weights", path=path, checkpoint_path=tmp_path / "model.ckpt", **options)
    load_bert4keras_weights(again, path)
    assert distance(ours(again, rows), ours(model, rows)) == 0
    if name != "model.h5":
        return
    save_bert4keras_weights(model, tmp_path / "ours.h5")
    found = bert4keras.run(
        "load_weights_predict", rows, path=tmp_path / "ours.h5", gelu="tanh", **options
    )
    if family != "gpt2_ml":
        assert_same(ours(model, rows), found["output_0"])


def test_gelu_of_gpt_is_the_original_s(bert4keras, tmp_path):
    """bert4keras: the exact one, 1e-12; OpenAI: by tanh, 1e-5."""
    options = GPT["gpt without segments"]
    model = make(**options)
    save_checkpoint(model, tmp_path / "model.ckpt")
    found = theirs(bert4keras, tmp_path / "model.ckpt", ROWS, "erf", **options)
    assert 1e-4 < distance(ours(model, ROWS), found) < 2e-2
    same = build_transformer_model(**{**options, "hidden_act": "gelu_erf"}, epsilon=1e-12)
    load_checkpoint(same, tmp_path / "model.ckpt")
    assert_same(ours(same, ROWS), found)


def test_bias_across_and_scale_of_t5_are_the_original_s(bert4keras, tmp_path):
    """By default bert4keras has the decoder's bias across too, and smaller logits."""
    options = {"model": "mt5.1.1", **T5["mt5.1.1"]}
    del options["cross_position_bias"]
    model = make(**options)
    save_checkpoint(model, tmp_path / "model.ckpt")
    found = theirs(bert4keras, tmp_path / "model.ckpt", PAIRS, **options)
    logits = ours(model, PAIRS)
    assert distance(logits * 24**-0.5, found) > 1e-2
    same = build_transformer_model(**options, cross_position_bias=True)
    load_checkpoint(same, tmp_path / "model.ckpt")
    assert_same(ours(same, PAIRS), found)
    without = theirs(
        bert4keras, tmp_path / "model.ckpt", PAIRS, **options, cross_position_bias=False
    )
    assert_same(logits * 24**-0.5, without)
