"""All formats through one door: what is read is the same, and all of it or nothing."""

import json
import os

import keras
import numpy as np
import pytest
from hugging_face_files import hugging_face_tensors, write_folder, write_shards
from safetensors.numpy import load_file, save_file
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras.models import (
    CheckpointError,
    build_transformer_model,
    load_checkpoint,
    save_bert4keras_weights,
    save_checkpoint,
)

HEADS = {"with_pool": True, "with_nsp": True, "with_mlm": "linear"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def google(tiny):
    """The model that has read Google's files, which all others must equal."""
    return build_transformer_model(tiny.config_path, tiny.checkpoint_path, **HEADS)


@pytest.fixture(scope="module")
def model(tiny):
    return build_transformer_model(tiny.config_path, **HEADS)


def assert_reads(model, google, path):
    """The path fills the model with what `google` has; it was empty before."""
    for variable in model.weights:
        variable.assign(keras.ops.zeros(variable.shape))
    load_checkpoint(model, path)
    for x, y in zip(model.get_weights(), google.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def assert_refuses(model, path, message):
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(model, path)
    for x, y in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(x, y)


def test_folder_file_and_configuration_of_hugging_face(tiny, google, model, tmp_path):
    folder = write_folder(tmp_path / "hub", tiny)
    assert_reads(model, google, folder)
    assert_reads(model, google, str(folder / "model.safetensors"))
    for config_path in (folder, folder / "config.json"):
        built = build_transformer_model(config_path, folder, with_mlm="linear")
        assert built.blueprint.config["max_position"] == 32
    ids = np.array([[2, 7, 9, 3, 0]], "int32"), np.array([[0, 0, 1, 1, 0]], "int32")
    expected = build_transformer_model(tiny.config_path, tiny.checkpoint_path, with_mlm="linear")
    np.testing.assert_allclose(
        built.predict_on_batch(ids), expected.predict_on_batch(ids), rtol=1e-5, atol=1e-5
    )


@pytest.mark.once
def test_shards(tiny, google, model, tmp_path):
    path = write_shards(tmp_path, hugging_face_tensors(tiny.variables), count=3)
    assert_reads(model, google, path)
    assert_reads(model, google, tmp_path)


@pytest.mark.once
@pytest.mark.parametrize("kind", ["no prefix", "module", "gamma and beta", "buffers", "two biases"])
def test_names_of_other_times(tiny, google, model, tmp_path, kind):
    tensors = hugging_face_tensors(tiny.variables, old_names=kind == "gamma and beta")
    if kind == "no prefix":
        tensors = {name.removeprefix("bert."): value for name, value in tensors.items()}
    elif kind == "module":
        tensors = {f"module.{name}": value for name, value in tensors.items()}
    elif kind == "gamma and beta":
        assert "cls.predictions.transform.LayerNorm.gamma" in tensors
    elif kind == "buffers":
        tensors |= {
            "bert.embeddings.position_ids": np.arange(32)[None],
            "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"] + 1,
            "classifier.weight": np.zeros((2, 16), "float32"),
        }
    else:
        tensors["cls.predictions.decoder.bias"] = tensors.pop("cls.predictions.bias")
    save_file(tensors, tmp_path / "model.safetensors")
    assert_reads(model, google, tmp_path)


@pytest.mark.once
def test_half_precision_becomes_float32(tiny, model, tmp_path):
    tensors = {
        name: value.astype("float16")
        for name, value in hugging_face_tensors(tiny.variables).items()
    }
    save_file(tensors, tmp_path / "model.safetensors")
    load_checkpoint(model, tmp_path)
    found = model.get_layer("Embedding-Token").get_weights()[0]
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, tensors["bert.embeddings.word_embeddings.weight"])


@pytest.mark.once
def test_keep_tokens(tiny, tmp_path):
    folder, kept = write_folder(tmp_path / "hub", tiny), [0, 2, 3, 9, 7]
    options = {"with_mlm": "linear", "keep_tokens": kept}
    found = build_transformer_model(folder, folder, **options)
    expected = build_transformer_model(tiny.config_path, tiny.checkpoint_path, **options)
    for x, y in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)
    wrong = build_transformer_model(folder, vocab_size=60, keep_tokens=[0, 55])
    assert_refuses(wrong, folder, r"up to id 55, but bert.*word_embeddings.weight has shape \(50,")


@pytest.mark.once
def test_wrong_files_of_hugging_face_change_nothing(tiny, model, tmp_path):
    path = tmp_path / "model.safetensors"
    right = hugging_face_tensors(tiny.variables)

    def refuses(tensors, message):
        save_file(tensors, path)
        assert_refuses(model, tmp_path, message)

    last = "bert.encoder.layer.1.output.dense.weight"
    message = rf"model.safetensors: {last} has shape \(33, 16\) \(stored as \(16, 33\)\)"
    refuses({**right, last: np.zeros((16, 33), "float32")}, message + r".* \(32, 16\)")
    name = "bert.embeddings.word_embeddings.weight"
    message = rf"{name} has shape \(51, 16\), .*\(50, 16\).* has 50 tokens, the checkpoint's 51"
    refuses({**right, name: np.zeros((51, 16), "float32")}, message)
    name = "bert.pooler.dense.bias"
    refuses(
        {k: v for k, v in right.items() if k != name}, f"model.safetensors has no tensor {name}"
    )
    save_file(right, path)
    path.write_bytes(path.read_bytes()[:-4])
    assert_refuses(model, tmp_path, "model.safetensors is cut off")
    path.unlink()
    index = write_shards(tmp_path, right)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    assert_refuses(model, index, r"model-00002-of-00002.safetensors is missing: .*index.json needs")


@pytest.mark.once
def test_a_dtype_that_is_not_read_is_noticed_before_anything_changes(tiny, model, tmp_path):
    write_folder(tmp_path, tiny)
    path = tmp_path / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["cls.predictions.bias"]["dtype"] = "F8_E4M3"
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    assert_refuses(model, tmp_path, "cls.predictions.bias has dtype F8_E4M3, which is not read")


@pytest.mark.once
def test_the_files_of_bert4keras(google, model, tmp_path):
    save_bert4keras_weights(google, tmp_path / "best.h5")
    os.rename(tmp_path / "best.h5", tmp_path / "best_model.weights")
    assert_reads(model, google, tmp_path / "best_model.weights")
    save_checkpoint(google, tmp_path / "best.h5")
    assert_reads(model, google, tmp_path / "best.h5")
    with pytest.raises(ValueError, match="`keep_tokens` must be left out with bert4keras's files"):
        load_checkpoint(model, tmp_path / "best.h5", keep_tokens=[0, 1])
    with pytest.raises(ValueError, match='not in ".weights.h5"'):
        save_checkpoint(google, tmp_path / "best.weights.h5")


@pytest.mark.once
def test_saved_for_hugging_face(tiny, google, model, tmp_path):
    save_checkpoint(google, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    found, expected = (
        load_file(tmp_path / "model.safetensors"),
        hugging_face_tensors(tiny.variables),
    )
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert found[name].dtype == "float32"
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    names = "vocab_size hidden_size num_hidden_layers max_position_embeddings type_vocab_size"
    assert all(config[name] == tiny.config[name] for name in names.split())
    assert_reads(model, google, tmp_path)
    save_checkpoint(google, tmp_path / "other" / "best.safetensors")
    assert_reads(model, google, tmp_path / "other" / "best.safetensors")
    assert len(list((tmp_path / "other").iterdir())) == 1  # a config.json of others stays


@pytest.mark.once
def test_a_model_on_top_and_one_with_fewer_tokens_are_saved_too(tiny, tmp_path):
    bert = build_transformer_model(tiny.config_path, keep_tokens=[0, 5, 3], with_pool=True)
    model = keras.Model(bert.inputs, keras.layers.Dense(2)(bert.output))
    save_checkpoint(model, tmp_path / "model.safetensors")
    small = build_transformer_model(tmp_path, tmp_path, with_pool=True)
    for x, y in zip(small.get_weights(), bert.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.once
def test_a_vocabulary_in_another_order_is_put_back(tiny, tmp_path):
    kept = [1, 0, *range(2, 50)]
    arguments = {"with_mlm": "linear", "keep_tokens": kept}
    model = build_transformer_model(tiny.config_path, tiny.checkpoint_path, **arguments)
    save_checkpoint(model, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for name, google in (
        ("bert.embeddings.word_embeddings.weight", "bert/embeddings/word_embeddings"),
        ("cls.predictions.bias", "cls/predictions/output_bias"),
    ):
        np.testing.assert_array_equal(tensors[name], tiny.variables[google])
    before = model.get_weights()
    load_checkpoint(model, tmp_path)
    for x, y in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.once
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"embedding_size": 8},
            "that Hugging Face's 'bert' has. Received: Embedding-Mapping",
        ),
        ({"position": "rotary"}, "`position` must be 'learned' in Hugging Face's format of 'bert'"),
        ({"attention_head_size": 4}, "`attention_head_size` must be 8, "),
        ({"normalizer": "taylor_softmax"}, "`normalizer` must be 'softmax'"),
    ],
)
def test_what_hugging_face_s_bert_has_not_is_not_saved(tiny, tmp_path, options, message):
    model = build_transformer_model(tiny.config_path, **options)
    with pytest.raises(ValueError, match=message):
        save_checkpoint(model, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.once
def test_two_transformers_and_none(tiny, tmp_path):
    towers = [build_transformer_model(tiny.config_path, name=name) for name in ("a", "b")]
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    both = keras.Model(inputs, [tower(inputs) for tower in towers])
    with pytest.raises(ValueError, match="one transformer made by build_transformer_model.*: 2"):
        save_checkpoint(both, tmp_path)
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="plain")
    with pytest.raises(ValueError, match="'plain' without any"):
        load_checkpoint(plain, tmp_path)


@pytest.mark.once
def test_an_interrupted_save_leaves_both_files(tiny, google, tmp_path, monkeypatch):
    save_checkpoint(google, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupted(source, destination):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(build_transformer_model(tiny.config_path), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
