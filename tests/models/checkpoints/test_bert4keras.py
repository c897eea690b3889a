"""The three kinds of files, laid out here by hand; tests/parity reads bert4keras's own."""

import os
import shutil

import h5py
import keras
import numpy as np
import pytest
from contract import perturb

from kexue_keras.models import (
    Bert,
    CheckpointError,
    load_bert4keras_weights,
    save_bert4keras_weights,
)
from kexue_keras.models.checkpoints import tensor_bundle

ATTENTION = "Transformer-0-MultiHeadSelfAttention"
FEED_FORWARD = "Transformer-0-FeedForward"

# the layers of a one-layer UniLM in bert4keras's order; weights in its order, with their shapes
LAYERS = {
    "Embedding-Token": ("embedding", {"embeddings": (20, 8)}),
    "Embedding-Segment": ("embedding_1", {"embeddings": (2, 8)}),
    "Embedding-Position": ("position_embedding", {"embeddings": (16, 8)}),
    "Embedding-Norm": ("layer_normalization", {"beta": (8,), "gamma": (8,)}),
    ATTENTION: (
        "multi_head_attention",
        {f"{p}_dense/{k}": s for p in "qkvo" for k, s in {"kernel": (8, 8), "bias": (8,)}.items()},
    ),
    f"{ATTENTION}-Norm": ("layer_normalization_1", {"beta": (8,), "gamma": (8,)}),
    FEED_FORWARD: (
        "feed_forward",
        {
            "i0_dense/kernel": (8, 12),
            "i0_dense/bias": (12,),
            "o_dense/kernel": (12, 8),
            "o_dense/bias": (8,),
        },
    ),
    f"{FEED_FORWARD}-Norm": ("layer_normalization_2", {"beta": (8,), "gamma": (8,)}),
    "MLM-Dense": ("dense", {"kernel": (8, 8), "bias": (8,)}),
    "MLM-Norm": ("layer_normalization_3", {"beta": (8,), "gamma": (8,)}),
    "MLM-Bias": ("scale_offset", {"beta": (20,)}),
}
ATTRIBUTES = {
    "q_dense": "query_dense",
    "k_dense": "key_dense",
    "v_dense": "value_dense",
    "o_dense": "output_dense",
    "i0_dense": "intermediate_dense",
}


def make_model(**options):
    sizes = dict(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    sizes |= dict(intermediate_size=12, max_position=16, with_mlm="linear")
    return Bert(**(sizes | options))


@pytest.fixture(scope="module")
def values():
    generator = np.random.default_rng(0)
    return {
        (layer, name): generator.normal(size=shape).astype("float32")
        for layer, (_, weights) in LAYERS.items()
        for name, shape in weights.items()
    }


def write_named(path, values, root=None):
    """Keras 2's file: positions count, the inner names differ from version to version."""
    with h5py.File(path, "w") as file:
        group = file.create_group(root) if root else file
        group.attrs["layer_names"] = [b"Input-Token", *(name.encode() for name in LAYERS)]
        group.create_group("Input-Token").attrs["weight_names"] = []
        for layer, (_, weights) in LAYERS.items():
            names = []
            for number, name in enumerate(weights):
                names.append(f"{layer}/dense_{7 + number // 2}/{name.split('/')[-1]}:0")
                group.create_dataset(f"{layer}/{names[-1]}", data=values[layer, name])
            group[layer].attrs["weight_names"] = [name.encode() for name in names]


def write_numbered(path, values):
    with h5py.File(path, "w") as file:
        file.create_group("layers/dropout_1/vars")
        for layer, (folder, weights) in LAYERS.items():
            counts = {}
            for name in weights:
                place = "/".join(["layers", folder, *name.split("/")[:-1], "vars"])
                counts[place] = counts.get(place, -1) + 1
                file.create_dataset(f"{place}/{counts[place]}", data=values[layer, name])


def write_objects(path, values):
    tensors = {"save_counter/.ATTRIBUTES/VARIABLE_VALUE": np.int64(1)}
    for number, (layer, (_, weights)) in enumerate(LAYERS.items()):
        for name in weights:
            place = f"layer_with_weights-{number}/{name}"
            tensors[f"{place}/.ATTRIBUTES/VARIABLE_VALUE"] = values[layer, name]
            slot = f"{place}/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE"
            tensors[slot] = 0 * values[layer, name]
    tensor_bundle.write(path, tensors)


WRITERS = {
    "model.h5": write_named,
    "old.weights": write_named,
    "model.weights.h5": write_numbered,
    "best_model.weights": write_objects,
}


def value_in(model, layer, name):
    *inner, kind = name.split("/")
    thing = model.get_layer(layer)
    for part in inner:
        thing = getattr(thing, ATTRIBUTES[part])
    return keras.ops.convert_to_numpy(getattr(thing, "bias" if layer == "MLM-Bias" else kind).value)


def assert_loaded(model, values, layers=LAYERS):
    for (layer, name), value in values.items():
        if layer in layers:
            np.testing.assert_array_equal(value_in(model, layer, name), value, f"{layer}/{name}")


def assert_refused(model, path, *patterns):
    before = model.get_weights()
    for pattern in patterns:
        with pytest.raises(CheckpointError, match=pattern):
            load_bert4keras_weights(model, path)
    for x, y in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("file_name", WRITERS)
def test_every_kind_of_file(values, tmp_path, file_name):
    WRITERS[file_name](tmp_path / file_name, values)
    for options in ({"application": "unilm"}, {"target_positions": True}, {"dropout_rate": 0.1}):
        model = make_model(**options)
        load_bert4keras_weights(model, tmp_path / file_name)
        assert_loaded(model, values)


def test_the_file_of_a_whole_model(values, tmp_path):
    write_named(tmp_path / "model.h5", values, root="model_weights")
    model = make_model()
    load_bert4keras_weights(model, str(tmp_path / "model.h5"))
    assert_loaded(model, values)


def test_named_layers_may_be_a_part_of_the_file(values, tmp_path):
    write_named(tmp_path / "model.h5", values)
    encoder = make_model(with_mlm=False)
    load_bert4keras_weights(encoder, tmp_path / "model.h5")
    assert_loaded(encoder, values, [name for name in LAYERS if not name.startswith("MLM")])
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    nested = keras.Model(inputs, make_model(with_mlm=False, name="bert")(inputs))
    load_bert4keras_weights(nested, tmp_path / "model.h5")
    assert_loaded(nested.get_layer("bert"), values, ["Embedding-Token", ATTENTION])


@pytest.mark.parametrize("file_name", ["model.weights.h5", "best_model.weights"])
def test_numbered_layers_must_be_all_of_the_file(values, tmp_path, file_name):
    """A pooler has the shape of the masked-LM layer: numbers alone would mix them up."""
    path = tmp_path / file_name
    WRITERS[file_name](path, values)
    assert_refused(make_model(with_mlm=False), path, f"{file_name} has .* no layer.*same layers")
    assert_refused(make_model(with_mlm=False, with_pool=True), path, f"{file_name} has")
    assert_refused(make_model(with_pool=True), path, f"{file_name} has no Pooler-Dense/kernel")
    assert_refused(make_model(num_hidden_layers=2), path, f"{file_name} has no ")


@pytest.mark.parametrize("file_name", WRITERS)
def test_wrong_shapes(values, tmp_path, file_name):
    path = tmp_path / file_name
    wrong = {**values, (FEED_FORWARD, "o_dense/kernel"): np.zeros((12, 9), "float32")}
    WRITERS[file_name](path, wrong)
    message = rf"{file_name}: {FEED_FORWARD}/o_dense/kernel has shape \(12, 9\).*\(12, 8\)"
    assert_refused(make_model(), path, message)
    assert_refused(make_model(keep_tokens=[0, 1, 2]), path, r"\(20, 8\).*\(3, 8\)")


def test_missing_layers_and_weights_of_a_named_file(values, tmp_path):
    path = tmp_path / "model.h5"
    write_named(path, values)
    assert_refused(make_model(with_pool=True), path, "model.h5 has no layer Pooler-Dense")
    with h5py.File(path, "a") as file:
        names = file[ATTENTION].attrs["weight_names"]
        file[ATTENTION].attrs["weight_names"] = names[:-1]
    assert_refused(make_model(), path, rf"layer {ATTENTION} has the weights \['kernel', 'bias'")
    with h5py.File(path, "a") as file:
        file[ATTENTION].attrs["weight_names"] = np.array(
            [*names[:-1], b"absent/bias:0"], dtype=bytes
        )
    assert_refused(make_model(), path, "is damaged: layer .* has lost absent/bias:0")


def test_files_that_are_something_else(values, tmp_path):
    model = make_model()
    assert_refused(model, tmp_path / "absent.h5", "absent.h5.index is missing")
    (tmp_path / "text.h5").write_text("no weights")
    assert_refused(model, tmp_path / "text.h5", "text.h5 is damaged or no HDF5 file")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    assert_refused(model, tmp_path / "other.h5", "not one of Keras weights")


@pytest.mark.parametrize("file_name", ["model.h5", "model.weights.h5"])
def test_truncated_hdf5_files(values, tmp_path, file_name):
    path = tmp_path / file_name
    WRITERS[file_name](path, values)
    whole, model = path.read_bytes(), make_model()
    for length in range(0, len(whole), len(whole) // 12):
        path.write_bytes(whole[:length])
        assert_refused(model, path, file_name)


def test_truncated_object_checkpoint(values, tmp_path):
    path = tmp_path / "best_model.weights"
    write_objects(path, values)
    data = tmp_path / "best_model.weights.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-4])
    assert_refused(make_model(), path, "is cut short")


def test_long_lists_of_names_are_spread_over_attributes(values, tmp_path, monkeypatch):
    from kexue_keras.models.checkpoints import bert4keras

    monkeypatch.setattr(bert4keras, "_ATTRIBUTE_BYTES", 150)
    model, again = make_model(), make_model()
    save_bert4keras_weights(model, tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as file:
        assert "layer_names" not in file.attrs and "layer_names1" in file.attrs
        assert "weight_names1" in file[ATTENTION].attrs
    load_bert4keras_weights(again, tmp_path / "model.h5")
    for x, y in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_saved_layout_is_that_of_keras_2(values, tmp_path):
    write_named(tmp_path / "first.h5", values)
    model = make_model(application="unilm", target_positions=True)
    load_bert4keras_weights(model, tmp_path / "first.h5")
    save_bert4keras_weights(model, tmp_path / "second.h5")
    with h5py.File(tmp_path / "second.h5") as file:
        assert [name.decode() for name in file.attrs["layer_names"]] == list(LAYERS)
        for layer, (_, weights) in LAYERS.items():
            names = [name.decode() for name in file[layer].attrs["weight_names"]]
            assert len(names) == len(weights)
            for name, key in zip(names, weights, strict=True):
                assert file[layer][name].dtype == np.float32
                np.testing.assert_array_equal(file[layer][name], values[layer, key])
    assert len(list(tmp_path.iterdir())) == 2


def with_classes(name="classes"):
    bert = make_model(with_mlm=False, with_pool=True)
    x = keras.layers.BatchNormalization(name="batch_norm")(bert.output)
    return keras.Model(bert.inputs, keras.layers.Dense(3, name=name)(x))


def test_own_layers_are_found_by_their_names(tmp_path):
    model, again = with_classes(), with_classes()
    save_bert4keras_weights(model, tmp_path / "model.h5")
    load_bert4keras_weights(again, tmp_path / "model.h5")
    for x, y in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)
    assert_refused(with_classes("labels"), tmp_path / "model.h5", "has no layer labels")


def test_saving_refuses_other_endings_and_survives_an_interruption(values, tmp_path, monkeypatch):
    model = make_model()
    for name in ("model.weights.h5", "model.ckpt", "model.weights"):
        with pytest.raises(ValueError, match=f"`path` must end in .*Received: .*{name}"):
            save_bert4keras_weights(model, tmp_path / name)
    path = tmp_path / "model.h5"
    write_named(path, values)
    shutil.copy(path, tmp_path / "before.h5")

    def interrupted(source, destination):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_bert4keras_weights(model, path)
    assert path.read_bytes() == (tmp_path / "before.h5").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_mixed_precision_models_take_float32_weights(values, tmp_path):
    write_named(tmp_path / "model.h5", values)
    model = make_model(dtype="mixed_bfloat16")
    load_bert4keras_weights(model, tmp_path / "model.h5")
    assert_loaded(model, values)


def with_recurrence():
    bert = make_model(with_mlm=False)
    x = keras.layers.Bidirectional(keras.layers.LSTM(4), name="both_ways")(bert.output)
    x = keras.layers.LayerNormalization(name="own_norm")(x)
    return keras.Model(bert.inputs, keras.layers.Dense(3, name="classes")(x))


def test_a_head_with_repeated_names_and_a_norm_of_keras(tmp_path):
    model, again = with_recurrence(), with_recurrence()
    perturb(model)
    save_bert4keras_weights(model, tmp_path / "model.h5")
    load_bert4keras_weights(again, tmp_path / "model.h5")
    for x, y in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)
    norm = model.get_layer("own_norm")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        group = file["own_norm"]
        names = [name.decode() for name in group.attrs["weight_names"]]
        # tf_keras reads by position: its own class has gamma first, bert4keras's beta
        assert names == ["own_norm/gamma:0", "own_norm/beta:0"]
        np.testing.assert_array_equal(group[names[0]], keras.ops.convert_to_numpy(norm.gamma))
        norms = [n for n in file.attrs["layer_names"] if n.endswith(b"-Norm")]
        assert norms and all(b"beta" in file[n].attrs["weight_names"][0] for n in norms)
        group.attrs["weight_names"] = [name.encode() for name in names[::-1]]
    load_bert4keras_weights(with_recurrence(), tmp_path / "model.h5")
