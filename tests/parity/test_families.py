"""The families around BERT against bert4keras's, on random checkpoints and weight files."""

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
    "max_position": 16,
    "hidden_act": "gelu",
}
TOKEN_IDS = np.array(
    [[2, 7, 9, 3, 11, 12, 3, 0, 0], [2, 8, 0, 10, 3, 13, 0, 14, 3], [2, 15, 16, 3, 9, 8, 7, 6, 3]],
    "int32",
)
SEGMENT_IDS = np.array(
    [[0, 0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1, 1]],
    "int32",
)
ROWS = {"token_ids": TOKEN_IDS, "segment_ids": SEGMENT_IDS}
KEPT = [0, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 30, 49]
MLM = {"with_mlm": "linear"}
NARROW = {"embedding_size": 12}
RELU = {"hidden_act": "relu"}
CASES = [
    ("albert", {**NARROW, **MLM, "with_nsp": True}),
    ("albert", {**NARROW, **MLM, "application": "lm", "keep_tokens": KEPT}),
    ("albert", {**NARROW, "application": "unilm"}),
    ("albert_unshared", {**NARROW, **MLM, "with_pool": True}),
    ("nezha", {**MLM, "with_nsp": True, "keep_tokens": KEPT}),
    ("nezha", {**NARROW, **MLM, "application": "lm", "attention_head_size": 8}),
    ("nezha", {"application": "unilm", "with_mlm": True}),
    ("roformer", {"with_pool": True}),
    ("roformer", {**NARROW, **MLM, "application": "lm", "keep_tokens": KEPT}),
    ("roformer", {**MLM, "application": "unilm", "with_pool": "linear"}),
    ("roformer_v2", {**RELU, **MLM, "keep_tokens": KEPT}),
    ("roformer_v2", {**RELU, **MLM, "application": "lm"}),
    ("roformer_v2", {**RELU, "application": "unilm"}),
    ("electra", {"keep_tokens": KEPT}),
    ("electra", {**NARROW, "with_discriminator": "linear"}),
    ("electra", {"with_discriminator": True}),
    # NEZHA-Gen
    ("bert", {**MLM, "application": "lm", "segment_vocab_size": 0}),
]


def name_of(case):
    return case if isinstance(case, str) else "+".join(case)


def build(family, seed=None, **options):
    model = build_transformer_model(model=family, **SIZES | options)
    return model if seed is None else randomize(model, seed)


def rows_of(options):
    kept = options.get("keep_tokens")
    return ROWS if kept is None else {**ROWS, "token_ids": np.searchsorted(kept, TOKEN_IDS)}


def outputs_of(model, rows):
    inputs = [rows["token_ids"], rows["segment_ids"]][: len(model.inputs)]
    outputs = model.predict_on_batch(inputs)
    return outputs if isinstance(outputs, list) else [outputs]


def assert_same_outputs(model, found, rows, atol=5e-5):
    outputs = outputs_of(model, rows)
    assert f"output_{len(outputs)}" not in found
    for i, output in enumerate(outputs):
        expected = found[f"output_{i}"]
        assert np.ptp(expected) > 1e-2
        np.testing.assert_allclose(output, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(("family", "options"), CASES, ids=name_of)
def test_checkpoints(bert4keras, tmp_path, family, options):
    """bert4keras reads a checkpoint that we wrote by its own names, and so do we."""
    whole = {k: v for k, v in options.items() if k != "keep_tokens"}
    if family == "albert_unshared":  # which reads ALBERT's names and writes BERT's
        save_checkpoint(build("albert", 0, **whole), tmp_path / "model.ckpt")
    else:
        save_checkpoint(build(family, 0, **whole), tmp_path / "model.ckpt")
    rows = rows_of(options)
    path = str(tmp_path / "model.ckpt")
    found = bert4keras.run("predict", rows, model=family, checkpoint_path=path, **SIZES | options)
    model = build(family, **options)
    load_checkpoint(model, path)
    assert_same_outputs(model, found, rows)


FILES = [
    *(CASES[i] for i in (0, 4, 7, 10, 15)),
    ("roformer_v2", {**NARROW, **RELU, **MLM}),  # whose last mapping no checkpoint has there
]


@pytest.mark.parametrize(("family", "options"), FILES, ids=name_of)
def test_files_that_we_wrote(bert4keras, tmp_path, family, options):
    model, rows = build(family, 1, **options), rows_of(options)
    save_bert4keras_weights(model, tmp_path / "ours.h5")
    arguments = {"model": family, **SIZES, **options}
    found = bert4keras.run("load_weights_predict", rows, path=tmp_path / "ours.h5", **arguments)
    assert_same_outputs(model, found, rows)


@pytest.mark.parametrize("name", ["model.h5", "model.weights.h5", "best_model.weights"])
@pytest.mark.parametrize(
    ("family", "options"), [("nezha", {**NARROW, "with_nsp": True, **MLM}), ("albert", MLM)]
)
def test_what_bert4keras_saved(bert4keras, tmp_path, family, options, name):
    """Its three formats, in which layers of two families are counted differently from BERT's."""
    save_checkpoint(build(family, 0, **options), tmp_path / "model.ckpt")
    arguments, path = {"model": family, **SIZES, **options}, tmp_path / name
    bert4keras.run("save_weights", path=path, checkpoint_path=tmp_path / "model.ckpt", **arguments)
    found = bert4keras.run("load_weights_predict", ROWS, path=path, **arguments)
    model = build(family, 2, **options)
    load_bert4keras_weights(model, path)
    assert_same_outputs(model, found, ROWS)


def test_the_longest_distances_of_nezha(bert4keras, tmp_path):
    """70 tokens: bert4keras clips distances at 64."""
    save_checkpoint(build("nezha", 0, **MLM), tmp_path / "model.ckpt")
    ids = np.random.default_rng(0).integers(1, 50, (1, 70))
    rows = {"token_ids": ids, "segment_ids": np.zeros_like(ids)}
    arguments = {"checkpoint_path": str(tmp_path / "model.ckpt"), **SIZES, **MLM}
    found = bert4keras.run("predict", rows, model="nezha", **arguments)
    model = build_transformer_model(model="nezha", **arguments)
    assert_same_outputs(model, found, rows)
    shorter = build_transformer_model(model="nezha", max_relative_position=63, **arguments)
    assert np.abs(outputs_of(shorter, rows)[0] - found["output_0"]).max() > 1e-3
