"""Lines by number, in order, and what else a file does."""

import json

import pytest

from kexue_keras.compat.text_file import open

pytestmark = pytest.mark.once


def test_lines_by_number_and_in_order(tmp_path):
    path, index = str(tmp_path / "a.txt"), str(tmp_path / "index.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write("天\n地人\n\n玄")
        file.flush()
    for _ in range(2):  # the second time from the index on disk
        with open(path, encoding="utf-8", indexable=index) as file:
            assert (len(file), file[1], file[3], file[0]) == (4, "地人\n", "玄", "天\n")
    with open(index, encoding="utf-8") as file:
        assert json.load(file) == [0, 4, 11, 12]
    with open(path, encoding="utf-8") as file:
        assert next(file) == "天\n" and file.next() == "地人\n"
        assert list(file) == ["\n", "玄"]
        assert file.readline() == "" and bool(file)
    with pytest.raises(StopIteration), open(path, encoding="utf-8") as file:
        file.read()
        next(file)
    with pytest.raises(ValueError, match="closed file"):
        file.read()


def test_bytes(tmp_path):
    with open(tmp_path / "b", "wb") as file:
        file.write(b"\x00\x01")
    with open(tmp_path / "b", "rb") as file:
        assert file.read() == b"\x00\x01"
