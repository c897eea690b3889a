import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras import layers
from kexue_keras.models import (
    BertBlueprint,
    CheckpointError,
    build_transformer_model,
    load_checkpoint,
    save_bert4keras_weights,
    save_checkpoint,
)
from kexue_keras.models.checkpoints import tensor_bundle

PROJECT = Path(__file__).parents[3]
TOKEN_IDS = np.array([[2, 7, 9, 3, 11, 12, 3, 0], [2, 8, 0, 10, 3, 0, 0, 0]], "int32")
SEGMENT_IDS = np.array([[0, 0, 0, 0, 1, 1, 1, 0], [0] * 8], "int32")
HEADS = {"with_pool": True, "with_nsp": True, "with_mlm": "linear"}

WITHOUT_TENSORFLOW = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ImportError("tensorflow is blocked")

sys.meta_path.insert(0, Blocker())
import numpy as np
from kexue_keras import models
config_path, checkpoint_path, h5_path, arrays_path, out_path = sys.argv[1:]
model = models.build_transformer_model(config_path, checkpoint_path, with_mlm="linear")
with np.load(arrays_path) as arrays:
    expected = arrays["output"]
    inputs = [arrays["token_ids"], arrays["segment_ids"]]
np.testing.assert_allclose(model.predict_on_batch(inputs), expected, rtol=1e-3, atol=1e-4)
models.save_checkpoint(model, out_path)
again = models.build_transformer_model(config_path, out_path, with_mlm="linear")
models.load_bert4keras_weights(again, h5_path)
for x, y in zip(model.get_weights(), again.get_weights()):
    np.testing.assert_array_equal(x, y)
assert "tensorflow" not in sys.modules
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


def copy_of(tiny, directory, **changes):
    """The checkpoint with some variables replaced, or left out where the change is None."""
    variables = {**tiny.variables, **changes}
    path = directory / "changed.ckpt"
    tensor_bundle.write(path, {k: v for k, v in variables.items() if v is not None})
    return path


def test_every_variable_lands_where_google_means_it(tiny):
    model = build_transformer_model(tiny.config_path, tiny.checkpoint_path, **HEADS)
    variables = tiny.variables

    def of(layer, *path):
        thing = model.get_layer(layer)
        for name in path:
            thing = getattr(thing, name)
        return keras.ops.convert_to_numpy(thing)

    def equal(found, name, transpose=False):
        expected = variables[name].T if transpose else variables[name]
        np.testing.assert_array_equal(found, expected, err_msg=name)

    equal(of("Embedding-Token", "embeddings"), "bert/embeddings/word_embeddings")
    equal(of("Embedding-Segment", "embeddings"), "bert/embeddings/token_type_embeddings")
    equal(of("Embedding-Position", "embeddings"), "bert/embeddings/position_embeddings")
    for kind in ("gamma", "beta"):
        equal(of("Embedding-Norm", kind), f"bert/embeddings/LayerNorm/{kind}")
        equal(of("MLM-Norm", kind), f"cls/predictions/transform/LayerNorm/{kind}")
    for i in range(2):
        name, google = f"Transformer-{i}", f"bert/encoder/layer_{i}"
        for kind in ("kernel", "bias"):
            attention = f"{name}-MultiHeadSelfAttention"
            for part in ("query", "key", "value"):
                found = of(attention, f"{part}_dense", kind)
                equal(found, f"{google}/attention/self/{part}/{kind}")
            equal(of(attention, "output_dense", kind), f"{google}/attention/output/dense/{kind}")
            found = of(f"{name}-FeedForward", "intermediate_dense", kind)
            equal(found, f"{google}/intermediate/dense/{kind}")
            equal(of(f"{name}-FeedForward", "output_dense", kind), f"{google}/output/dense/{kind}")
        for kind in ("gamma", "beta"):
            found = of(f"{name}-MultiHeadSelfAttention-Norm", kind)
            equal(found, f"{google}/attention/output/LayerNorm/{kind}")
            equal(of(f"{name}-FeedForward-Norm", kind), f"{google}/output/LayerNorm/{kind}")
    equal(of("Pooler-Dense", "kernel"), "bert/pooler/dense/kernel")
    equal(of("MLM-Dense", "kernel"), "cls/predictions/transform/dense/kernel")
    equal(of("MLM-Bias", "bias"), "cls/predictions/output_bias")
    equal(of("NSP-Proba", "kernel"), "cls/seq_relationship/output_weights", transpose=True)
    equal(of("NSP-Proba", "bias"), "cls/seq_relationship/output_bias")


@pytest.mark.parametrize("name", ["saved.ckpt", "saved.npz"])
def test_saving_gives_the_same_variables_back(tiny, tmp_path, name):
    model = build_transformer_model(tiny.config_path, tiny.checkpoint_path, **HEADS)
    path = tmp_path / name
    save_checkpoint(model, path)
    if name.endswith(".npz"):
        with np.load(path) as archive:
            saved = dict(archive)
    else:
        bundle = tensor_bundle.TensorBundle(path)
        saved = {key: bundle.read(key) for key in bundle.keys()}
    assert sorted(saved) == sorted(tiny.variables)
    for key, value in tiny.variables.items():
        assert saved[key].dtype == np.float32
        np.testing.assert_array_equal(saved[key], value)
    again = build_transformer_model(tiny.config_path, path, **HEADS)
    for x, y in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)
    assert len(list(tmp_path.iterdir())) == (1 if name.endswith(".npz") else 2)


def test_index_path_and_missing_heads(tiny):
    expected = build_transformer_model(tiny.config_path, tiny.checkpoint_path).get_weights()
    found = build_transformer_model(tiny.config_path, tiny.checkpoint_path + ".index").get_weights()
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, y)


def test_keep_tokens_are_gathered_and_predictions_are_the_columns(tiny):
    kept = [0, 2, 3, 7, 8, 9, 10, 11, 12, 49]
    full = build_transformer_model(tiny.config_path, tiny.checkpoint_path, with_mlm="linear")
    model = build_transformer_model(
        tiny.config_path, tiny.checkpoint_path, with_mlm="linear", keep_tokens=kept
    )
    assert full.count_params() - model.count_params() == 40 * 17
    new_ids = np.searchsorted(kept, TOKEN_IDS)
    found = model.predict_on_batch([new_ids, SEGMENT_IDS])
    expected = full.predict_on_batch([TOKEN_IDS, SEGMENT_IDS])[..., kept]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_keep_tokens_beyond_the_checkpoint(tiny, tmp_path):
    model = build_transformer_model(tiny.config_path, vocab_size=60, keep_tokens=[0, 55])
    message = r"`keep_tokens` goes up to id 55, but .*word_embeddings has shape \(50, 16\)"
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(model, tiny.checkpoint_path)


def test_keep_tokens_of_another_vocabulary(tiny):
    model = build_transformer_model(tiny.config_path, vocab_size=40, keep_tokens=[0, 1, 2])
    with pytest.raises(CheckpointError, match="has 50 tokens, the model's vocabulary, .* has 40"):
        load_checkpoint(model, tiny.checkpoint_path)
    with pytest.raises(ValueError, match="`keep_tokens` must be ids. Received: -1"):
        load_checkpoint(model, tiny.checkpoint_path, keep_tokens=[-1, 1, 2])
    small = build_transformer_model(tiny.config_path, vocab_size=3)
    load_checkpoint(small, tiny.checkpoint_path, keep_tokens=[0, 5, 7])
    full = build_transformer_model(tiny.config_path, tiny.checkpoint_path)
    tables = [m.get_layer("Embedding-Token").get_weights()[0] for m in (small, full)]
    np.testing.assert_array_equal(tables[0], tables[1][[0, 5, 7]])


def test_what_the_format_has_no_place_for_is_refused(tiny, tmp_path):
    towers = [build_transformer_model(tiny.config_path, name=name) for name in ("a", "b")]
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    both = keras.Model(inputs, [tower(inputs) for tower in towers])
    with pytest.raises(ValueError, match="must have one BERT.*Received: bert/.* twice"):
        save_checkpoint(both, tmp_path / "both.npz")
    feed_forward = towers[0].get_layer("Transformer-0-FeedForward")
    feed_forward.intermediate_dense.enable_lora(2)
    for save, name in ((save_checkpoint, "a.npz"), (save_bert4keras_weights, "a.h5")):
        with pytest.raises(ValueError, match="must not have LoRA.* Received: .*FeedForward"):
            save(towers[0], tmp_path / name)
    assert not list(tmp_path.iterdir())


def weights_after_failure(model, path, message):
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(model, path)
    for x, y in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def model(tiny):
    return build_transformer_model(tiny.config_path, **HEADS)


def test_a_missing_variable(tiny, model, tmp_path):
    name = "bert/encoder/layer_1/output/LayerNorm/gamma"
    path = copy_of(tiny, tmp_path, **{name: None})
    weights_after_failure(model, path, rf"changed.ckpt.*{name}")
    archive = tmp_path / "changed.npz"
    np.savez(archive, **{k: v for k, v in tiny.variables.items() if k != name})
    weights_after_failure(model, archive, rf"changed.npz has no variable {name}")


def test_a_wrong_shape(tiny, model, tmp_path):
    name = "bert/encoder/layer_1/output/dense/kernel"
    path = copy_of(tiny, tmp_path, **{name: np.zeros((32, 17), "float32")})
    weights_after_failure(
        model, path, rf"changed.ckpt: {name} has shape \(32, 17\).*has shape \(32, 16\)"
    )
    # as many numbers, in another shape
    path = copy_of(tiny, tmp_path, **{name: np.zeros((16, 32), "float32")})
    weights_after_failure(model, path, r"\(16, 32\).*\(32, 16\)")


def test_a_wrong_vocabulary_says_so(tiny, model, tmp_path):
    name = "bert/embeddings/word_embeddings"
    path = copy_of(tiny, tmp_path, **{name: np.zeros((51, 16), "float32")})
    message = r"\(51, 16\).*\(50, 16\).*the model's vocabulary has 50 tokens, the checkpoint's 51"
    weights_after_failure(model, path, message)


def test_truncated_and_missing_files(tiny, model, tmp_path):
    paths = {}
    for suffix in (".index", ".data-00000-of-00001"):
        for source in Path(tiny.checkpoint_path).parent.glob("bert_model.ckpt.*"):
            shutil.copy(source, tmp_path / source.name)
        path = paths[suffix] = tmp_path / f"bert_model.ckpt{suffix}"
        path.write_bytes(path.read_bytes()[:-20])
        weights_after_failure(model, tmp_path / "bert_model.ckpt", f"bert_model.ckpt{suffix}")
    paths[".index"].unlink()
    weights_after_failure(model, tmp_path / "bert_model.ckpt", "bert_model.ckpt.index is missing")


def test_truncated_npz(tiny, model, tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, **tiny.variables)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        weights_after_failure(model, path, "model.npz")
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    path.write_bytes(damaged)
    weights_after_failure(model, path, "model.npz: .* is damaged")
    weights_after_failure(
        model, tmp_path / "absent.npz", "absent.npz cannot be opened: No such file"
    )
    np.save(path.with_suffix(""), np.zeros(3))
    os.replace(tmp_path / "model.npy", path)
    weights_after_failure(model, path, "holds a single array")


def composite(tiny, nested):
    bert = build_transformer_model(tiny.config_path, with_pool=True, name="bert")
    if not nested:
        output = keras.layers.Dense(3, name="classes")(bert.output)
        return keras.Model(bert.inputs, output)
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    return keras.Model(inputs, keras.layers.Dense(3, name="classes")(bert(inputs)))


@pytest.mark.parametrize("nested", [False, True])
def test_a_model_built_on_top_loads_and_saves(tiny, tmp_path, nested):
    model = composite(tiny, nested)
    own = model.get_layer("classes").get_weights()
    load_checkpoint(model, tiny.checkpoint_path)
    bert = build_transformer_model(tiny.config_path, tiny.checkpoint_path, with_pool=True)
    pooled = bert.predict_on_batch([TOKEN_IDS, SEGMENT_IDS])
    found = model.predict_on_batch([TOKEN_IDS, SEGMENT_IDS])
    np.testing.assert_allclose(found, pooled @ own[0] + own[1], atol=1e-5)
    save_checkpoint(model, tmp_path / "model.ckpt")
    again = composite(tiny, not nested)
    load_checkpoint(again, tmp_path / "model.ckpt")
    expected = bert.get_weights()
    assert len(again.get_weights()) == len(expected) + 2
    for x, y in zip(again.get_weights()[: len(expected)], expected, strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_model_without_known_layers(tiny, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="plain")
    for function in (load_checkpoint, save_checkpoint):
        with pytest.raises(ValueError, match="layers with bert4keras's names.*'plain' without any"):
            function(model, tiny.checkpoint_path)


def test_a_failed_save_leaves_the_old_file(tiny, tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    model = build_transformer_model(tiny.config_path, tiny.checkpoint_path)
    save_checkpoint(model, path)
    before = path.read_bytes()

    def interrupted(source, destination):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(model, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_works_where_tensorflow_cannot_be_imported(tiny, tmp_path):
    from kexue_keras.models import save_bert4keras_weights

    model = build_transformer_model(tiny.config_path, tiny.checkpoint_path, with_mlm="linear")
    save_bert4keras_weights(model, tmp_path / "model.h5")
    output = model.predict_on_batch([TOKEN_IDS, SEGMENT_IDS])
    arrays = {"token_ids": TOKEN_IDS, "segment_ids": SEGMENT_IDS, "output": output}
    np.savez(tmp_path / "arrays.npz", **arrays)
    paths = [tiny.config_path, tiny.checkpoint_path, tmp_path / "model.h5"]
    paths += [tmp_path / "arrays.npz", tmp_path / "out.ckpt"]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *map(str, paths)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_frozen_kernel_keeps_its_name(tiny, tmp_path):
    model = build_transformer_model(tiny.config_path, tiny.checkpoint_path, with_pool=True)
    model.get_layer("Pooler-Dense").kernel.trainable = False
    save_checkpoint(model, tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as saved:
        for part in ("kernel", "bias"):
            name = f"bert/pooler/dense/{part}"
            np.testing.assert_array_equal(saved[name], tiny.variables[name])


def test_variables_are_told_by_their_names_where_they_have_them(tiny):
    """Keras's own normalization has its gain first."""

    class WithKerasNorms(BertBlueprint):
        def norm(self, x, name):
            return self.layer(name, keras.layers.LayerNormalization, epsilon=1e-12)(x)

    model = build_transformer_model(tiny.config_path, tiny.checkpoint_path, model=WithKerasNorms)
    norm = model.get_layer("Embedding-Norm")
    for part in ("gamma", "beta"):
        expected = tiny.variables[f"bert/embeddings/LayerNorm/{part}"]
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(getattr(norm, part)), expected)


def test_layers_with_bert4keras_s_names_and_nothing_else(tiny, tmp_path):
    inputs = keras.Input((None,), dtype="int32")
    embedding = layers.Embedding(50, 16, name="Embedding-Token")
    block = layers.FeedForward(32, name="Transformer-1-FeedForward")
    model = keras.Model(inputs, block(embedding(inputs)))
    load_checkpoint(model, tiny.checkpoint_path)
    expected = tiny.variables["bert/encoder/layer_1/output/dense/bias"]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(block.output_dense.bias), expected)
    save_checkpoint(model, tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as saved:
        assert len(saved) == 5


def test_what_is_left_out_is_said(tiny, tmp_path):
    model = build_transformer_model(tiny.config_path, condition_size=3)
    load_checkpoint(model, tiny.checkpoint_path)
    with pytest.warns(UserWarning, match="no place for .* of 5 layers.*Embedding-Norm"):
        save_checkpoint(model, tmp_path / "model.npz")


def test_lora_is_refused_on_loading_too(tiny):
    model = build_transformer_model(tiny.config_path)
    model.get_layer("Transformer-0-FeedForward").intermediate_dense.enable_lora(2)
    with pytest.raises(ValueError, match="must not have LoRA"):
        load_checkpoint(model, tiny.checkpoint_path)
    with pytest.raises(ValueError, match="`keep_tokens` must be ids. Received: none"):
        load_checkpoint(build_transformer_model(tiny.config_path), tiny.checkpoint_path, [])
