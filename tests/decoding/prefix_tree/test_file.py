"""The file format refuses everything that is not a whole, unchanged file of its version."""

import numpy as np
import pytest

from kexue_keras.decoding.prefix_tree import PrefixTree
from kexue_keras.decoding.prefix_tree.file import HEADER_SIZE, MAGIC, read_arrays, write_arrays


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "small.tree"
    PrefixTree([[1, 2], [1, 3], [4]], ["a", "b", "c"]).save(path)
    return path


def test_every_truncation_is_refused(saved, tmp_path):
    content = saved.read_bytes()
    part = tmp_path / "part"
    for length in range(len(content)):
        part.write_bytes(content[:length])
        with pytest.raises(ValueError, match="`path`"):
            PrefixTree.load(part)


def test_extension_is_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="bytes long"):
        PrefixTree.load(saved)


def test_every_changed_header_byte_is_refused(saved, tmp_path):
    content = bytearray(saved.read_bytes())
    changed = tmp_path / "changed"
    for position in range(HEADER_SIZE):
        content[position] ^= 1
        changed.write_bytes(content)
        with pytest.raises(ValueError, match="`path`"):
            PrefixTree.load(changed)
        content[position] ^= 1


def test_every_changed_body_byte_is_found_by_verify(saved, tmp_path):
    content = bytearray(saved.read_bytes())
    changed = tmp_path / "changed"
    for position in range(HEADER_SIZE, len(content)):
        content[position] ^= 128
        changed.write_bytes(content)
        with pytest.raises(ValueError, match="checksum"):
            PrefixTree.load(changed, verify=True)
        content[position] ^= 128


def test_other_version_is_named(saved):
    content = bytearray(saved.read_bytes())
    content[len(MAGIC)] = 9
    saved.write_bytes(content)
    with pytest.raises(ValueError, match="format version 2. Received: 9"):
        PrefixTree.load(saved)


def test_foreign_file_is_refused(tmp_path):
    path = tmp_path / "foreign"
    for content in (b"", b"{}", b"\x89PNG" + bytes(10_000)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no prefix tree file"):
            PrefixTree.load(path)
    with pytest.raises(FileNotFoundError):
        PrefixTree.load(tmp_path / "missing")


def test_failed_write_keeps_the_old_file(saved):
    before = saved.read_bytes()
    with pytest.raises(ValueError, match="do not fit"):
        write_arrays(saved, {"x" * HEADER_SIZE: 1}, {})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_tree_can_replace_its_own_file(saved):
    tree = PrefixTree.load(saved)
    tree.save(saved)
    assert list(PrefixTree.load(saved, verify=True).items()) == list(tree.items())


def test_arrays_are_read_only_and_equal(tmp_path):
    arrays = {"a": np.arange(5, dtype="<u2"), "b": np.zeros(0, "<i4"), "c": np.arange(3.0)}
    write_arrays(tmp_path / "f", {"n": 1}, arrays)
    meta, read = read_arrays(tmp_path / "f", verify=True)
    assert meta == {"n": 1} and list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype and np.array_equal(read[name], array)
        assert not read[name].flags.writeable
