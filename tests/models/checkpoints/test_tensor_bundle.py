import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kexue_keras.models.checkpoints.sorted_string_table import decode_table, encode_table
from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError, TensorBundle, write

PROJECT = Path(__file__).parents[3]

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16"]
DTYPES += ["uint32", "uint64", "bool", "complex64", "complex128"]


def tensorflow(job, prefix, archive):
    """What TensorFlow itself reads and writes."""
    import tensorflow as tf

    prefix = str(prefix)
    if job == "read":
        reader = tf.train.load_checkpoint(prefix)
        arrays = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        np.savez(archive, *arrays.values(), names=np.array(list(arrays), dtype=str))
    if job == "write":
        with np.load(archive) as stored:
            arrays = [stored[f"arr_{i}"] for i in range(len(stored.files) - 1)]
            names = stored["names"].tolist()
        slices = [""] * len(arrays)
        tensors = [tf.constant(array) for array in arrays]
        if "bfloat16" in names:
            place = names.index("bfloat16")
            tensors[place] = tf.cast(tensors[place], tf.bfloat16)
        tf.raw_ops.SaveV2(
            prefix=prefix, tensor_names=names, shape_and_slices=slices, tensors=tensors
        )
    if job == "write_shards":
        parts = [prefix + "_part0", prefix + "_part1"]
        for number, part in enumerate(parts):
            tensors = [tf.fill([3], float(number)), tf.range(number + 2)]
            names = [f"{number}/fill", f"{number}/range"]
            tf.raw_ops.SaveV2(
                prefix=part, tensor_names=names, shape_and_slices=["", ""], tensors=tensors
            )
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=prefix)
    if job == "write_objects":
        tf.train.Checkpoint(step=tf.Variable(3.0)).write(prefix)


def read_with_tensorflow(prefix, directory):
    archive = directory / "read.npz"
    tensorflow("read", prefix, archive)
    with np.load(archive) as stored:
        return {name: stored[f"arr_{i}"] for i, name in enumerate(stored["names"].tolist())}


def assorted():
    generator = np.random.default_rng(0)
    tensors = {}
    for dtype in DTYPES:
        for shape in [(), (1,), (5,), (2, 3), (3, 1, 4), (0,), (2, 0, 3)]:
            values = generator.integers(0, 2 if dtype == "bool" else 100, shape)
            tensors[f"{dtype}/{'x'.join(map(str, shape)) or 'scalar'}"] = np.asarray(values, dtype)
    return tensors


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array)


def read_all(prefix):
    with TensorBundle(prefix) as bundle:
        return {name: bundle.read(name) for name in bundle.keys()}


@pytest.fixture
def small(tmp_path):
    """A checkpoint of three variables; the index has 100-odd bytes, the data 108."""
    prefix = tmp_path / "model.ckpt"
    tensors = {
        "dense/bias": np.arange(3, dtype="float32"),
        "dense/kernel": np.arange(12, dtype="float64").reshape(4, 3),
        "step": np.int32(-7),
    }
    write(prefix, tensors)
    return prefix


def data_of(prefix):
    return Path(f"{prefix}.data-00000-of-00001")


def test_round_trip_of_dtypes_and_shapes(tmp_path):
    write(tmp_path / "x", assorted())
    assert_same(read_all(tmp_path / "x"), assorted())


def test_shape_dtype_keys_and_membership(small):
    bundle = TensorBundle(small)
    assert bundle.keys() == ["dense/bias", "dense/kernel", "step"]
    assert list(bundle) == bundle.keys() and len(bundle) == 3
    assert "step" in bundle and "Step" not in bundle and "" not in bundle
    assert bundle.shape("dense/kernel") == (4, 3) and bundle.shape("step") == ()
    assert bundle.dtype("dense/kernel") == np.float64


def test_index_path_opens_the_same_checkpoint(small):
    assert TensorBundle(f"{small}.index").keys() == TensorBundle(str(small)).keys()


def test_arrays_outlive_the_bundle_and_belong_to_the_caller(small):
    with TensorBundle(small) as bundle:
        first = bundle.read("dense/bias")
        first += 1
        np.testing.assert_array_equal(bundle.read("dense/bias"), [0, 1, 2])
    np.testing.assert_array_equal(first, [1, 2, 3])
    np.testing.assert_array_equal(bundle.read("dense/bias"), [0, 1, 2])


def test_thousand_random_names(tmp_path):
    generator = np.random.default_rng(1)
    letters = list("abAB/_:0é注\x01~")
    names = {"".join(generator.choice(letters, generator.integers(1, 40))) for _ in range(1100)}
    tensors = {name: generator.normal(size=3).astype("float32") for name in sorted(names)[:1000]}
    assert len(tensors) == 1000
    write(tmp_path / "x", tensors)
    assert_same(read_all(tmp_path / "x"), tensors)
    assert TensorBundle(tmp_path / "x").keys() == sorted(tensors, key=str.encode)


def test_layout_of_the_array_does_not_matter(tmp_path):
    matrix = np.arange(12.0).reshape(3, 4)
    write(
        tmp_path / "x",
        {"transposed": matrix.T, "strided": matrix[:, ::2], "big": matrix.astype(">f8")},
    )
    found = read_all(tmp_path / "x")
    np.testing.assert_array_equal(found["transposed"], matrix.T)
    np.testing.assert_array_equal(found["strided"], matrix[:, ::2])
    np.testing.assert_array_equal(found["big"], matrix)


def test_no_variables_at_all(tmp_path):
    write(tmp_path / "x", {})
    assert TensorBundle(tmp_path / "x").keys() == []


@pytest.mark.parametrize("block_bytes", [1, 40, 4096])
def test_table_of_many_blocks(block_bytes):
    table = {f"name{i:03d}".encode(): bytes(i) for i in range(200)} | {b"": b"header"}
    assert decode_table(encode_table(table, block_bytes)) == table


def test_tensorflow_reads_what_we_write(tmp_path):
    long_names = {f"scope_{i % 7}/{'x' * 60}/{i}": np.float32(i) for i in range(5000)}
    tensors = assorted() | long_names
    write(tmp_path / "ours", tensors)
    index_bytes = (tmp_path / "ours.index").stat().st_size
    assert_same(read_with_tensorflow(tmp_path / "ours", tmp_path), tensors)
    assert_same(read_all(tmp_path / "ours"), tensors)
    assert index_bytes > 100_000


def test_we_read_what_tensorflow_writes_and_write_the_same_bytes(tmp_path):
    tensors = assorted() | {f"layer_{i}/kernel": np.full((2, 2), i, "float32") for i in range(300)}
    tensors = dict(sorted(tensors.items()))
    archive = tmp_path / "write.npz"
    np.savez(archive, *tensors.values(), names=np.array(list(tensors), dtype=str))
    tensorflow("write", tmp_path / "theirs", archive)
    assert_same(read_all(tmp_path / "theirs"), tensors)
    write(tmp_path / "ours", tensors)
    for ending in (".index", ".data-00000-of-00001"):
        ours, theirs = tmp_path / f"ours{ending}", tmp_path / f"theirs{ending}"
        assert ours.read_bytes() == theirs.read_bytes()


def test_bfloat16_comes_as_float32(tmp_path):
    import ml_dtypes

    values = np.array([0.0, -1.5, 3.140625, 1e30, np.inf], "float32")
    archive = tmp_path / "write.npz"
    np.savez(archive, values, names=np.array(["bfloat16"]))
    tensorflow("write", tmp_path / "theirs", archive)
    rounded = values.astype(ml_dtypes.bfloat16)
    write(tmp_path / "ours", {"bfloat16": rounded})
    for prefix in (tmp_path / "theirs", tmp_path / "ours"):
        bundle = TensorBundle(prefix)
        assert bundle.dtype("bfloat16") == np.float32
        found = bundle.read("bfloat16")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, rounded.astype("float32"))


def test_several_data_files(tmp_path):
    tensorflow("write_shards", tmp_path / "x", "")
    found = read_all(tmp_path / "x")
    np.testing.assert_array_equal(found["1/fill"], [1, 1, 1])
    np.testing.assert_array_equal(found["1/range"], [0, 1, 2])
    np.testing.assert_array_equal(found["0/range"], [0, 1])
    missing = tmp_path / "x.data-00001-of-00002"
    missing.unlink()
    with pytest.raises(CheckpointError, match=f"{missing} is missing"):
        TensorBundle(tmp_path / "x")


def test_strings_are_listed_but_not_read(tmp_path):
    tensorflow("write_objects", tmp_path / "x", "")
    bundle = TensorBundle(tmp_path / "x")
    assert bundle.read("step/.ATTRIBUTES/VARIABLE_VALUE") == 3
    with pytest.raises(CheckpointError, match="`_CHECKPOINTABLE_OBJECT_GRAPH` holds strings"):
        bundle.read("_CHECKPOINTABLE_OBJECT_GRAPH")


def test_runs_without_tensorflow(small):
    program = f"""
import json, sys, types
package = types.ModuleType("kexue_keras.models")
package.__path__ = [{str(PROJECT / "kexue_keras" / "models")!r}]
sys.modules["kexue_keras.models"] = package
from kexue_keras.models.checkpoints.tensor_bundle import TensorBundle, write
value = TensorBundle({str(small)!r}).read("step").item()
write({str(small)!r} + "2", {{}})
print(json.dumps([value, [name for name in ("tensorflow", "keras", "jax") if name in sys.modules]]))
"""
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(output) == [-7, []]


def test_tiny_zh_equals_tensorflow(shared, tmp_path):
    prefix = Path(shared) / "checkpoints" / "tiny_zh" / "bert_model.ckpt"
    found = read_all(prefix)
    assert len(found) == 78 and sum(array.size for array in found.values()) == 11_659_354
    assert_same(found, read_with_tensorflow(prefix, tmp_path))
    write(tmp_path / "copy", found)
    for ending in (".index", ".data-00000-of-00001"):
        assert (
            Path(f"{prefix}{ending}").read_bytes() == Path(f"{tmp_path}/copy{ending}").read_bytes()
        )


def test_every_truncation_of_the_index_is_refused(small):
    path = Path(f"{small}.index")
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="model.ckpt.index"):
            TensorBundle(small)


def test_every_truncation_of_the_data_is_refused(small):
    whole = data_of(small).read_bytes()
    for size in range(len(whole)):
        data_of(small).write_bytes(whole[:size])
        message = rf"data-00000-of-00001 is cut short: variable `\S+` needs bytes .* has {size}$"
        with pytest.raises(CheckpointError, match=message):
            TensorBundle(small)


def test_every_flipped_bit_of_the_index_is_refused(small):
    path = Path(f"{small}.index")
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="model.ckpt.index"):
            TensorBundle(small)


def test_every_flipped_byte_of_the_data_is_refused(small):
    whole = data_of(small).read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        data_of(small).write_bytes(damaged)
        name = "dense/bias" if position < 12 else "dense/kernel" if position < 108 else "step"
        with TensorBundle(small) as bundle, pytest.raises(CheckpointError, match=f"`{name}`"):
            bundle.read(name)


def test_compressed_blocks_are_refused(small):
    from kexue_keras.models.checkpoints.sorted_string_table import masked_crc

    path = Path(f"{small}.index")
    index = bytearray(path.read_bytes())
    end = 0
    while index[end] or masked_crc(bytes(index[: end + 1])) != int.from_bytes(
        index[end + 1 : end + 5], "little"
    ):
        end += 1
    index[end] = 1
    index[end + 1 : end + 5] = masked_crc(bytes(index[: end + 1])).to_bytes(4, "little")
    path.write_bytes(index)
    with pytest.raises(CheckpointError, match="block at byte 0 is compressed"):
        TensorBundle(small)


def test_a_missing_variable_is_named_with_its_neighbours(small):
    message = (
        r"model.ckpt.index has no variable `dense/kernels` among its 3. Closest names: dense/k"
    )
    with pytest.raises(CheckpointError, match=message):
        TensorBundle(small).read("dense/kernels")
    with pytest.raises(CheckpointError, match=r"no variable `zzzzz` among its 3\.$"):
        TensorBundle(small).shape("zzzzz")


def test_missing_files_are_named(small, tmp_path):
    with pytest.raises(CheckpointError, match="nowhere.ckpt.index is missing"):
        TensorBundle(tmp_path / "nowhere.ckpt")
    data_of(small).unlink()
    with pytest.raises(CheckpointError, match="model.ckpt.data-00000-of-00001 is missing"):
        TensorBundle(small)


def test_a_table_without_header_is_no_checkpoint(tmp_path):
    (tmp_path / "x.index").write_bytes(encode_table({b"key": b"value"}))
    with pytest.raises(CheckpointError, match="x.index is damaged: .* without the header"):
        TensorBundle(tmp_path / "x")


def test_writing_refuses_what_it_cannot_store(tmp_path):
    with pytest.raises(CheckpointError, match="`name` has dtype <U4"):
        write(tmp_path / "x", {"name": np.array("text")})
    with pytest.raises(CheckpointError, match="name must not be empty"):
        write(tmp_path / "x", {"": np.zeros(2)})
    with pytest.raises(CheckpointError, match="there is no directory .*absent"):
        write(tmp_path / "absent" / "x", {})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_checkpoint_that_was_there(small, monkeypatch):
    before = read_all(small)
    files = sorted(path.name for path in small.parent.iterdir())

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write(small, {"step": np.int32(8)})
    assert sorted(path.name for path in small.parent.iterdir()) == files
    assert_same(read_all(small), before)
