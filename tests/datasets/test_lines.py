"""Reading lines and JSON objects: what the readers of `datasets` share."""

import pytest

from kexue_keras.datasets.lines import (
    DataError,
    as_object,
    field,
    parse_json,
    read_columns,
    read_lines,
    read_objects,
)

pytestmark = pytest.mark.once


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.txt"


def test_lines_end_at_line_feeds_only_and_keep_their_numbers(path):
    path.write_bytes("\ufeffa\u2028b\r\n\nc\x0cd".encode())
    assert list(read_lines(path)) == [(1, "a\u2028b"), (3, "c\x0cd")]
    assert list(read_lines(path, keep_empty=True))[1] == (2, "")


def test_columns(path):
    path.write_text("a\tb\nc\n", encoding="utf-8")
    rows = read_columns(path, ("one", "two"))
    assert next(rows) == (1, ["a", "b"])
    with pytest.raises(DataError, match=r"data.txt:2: must have 2 columns \(one, two\)"):
        next(rows)


def test_objects_and_fields(path):
    path.write_text('{"a": "x", "b": 1}\n', encoding="utf-8")
    assert list(read_objects(path, ("a",))) == [(1, {"a": "x", "b": 1}, ["x"])]
    with pytest.raises(DataError, match="data.txt:1: 'b' must be a str. Received: int"):
        list(read_objects(path, ("b",)))
    with pytest.raises(DataError, match="must have the field 'c'"):
        field({"a": 1}, "c", str, "here")
    with pytest.raises(DataError, match="here: must be a JSON object. Received: list"):
        as_object([], "here")


def test_json_errors_count_lines(path):
    assert parse_json('{"a": [1]}', path, 1) == {"a": [1]}
    with pytest.raises(DataError, match="data.txt:12: must be JSON"):
        parse_json('{"a":\n\n]', path, 10)
    with pytest.raises(DataError, match="deep nesting"):
        parse_json("[" * 100_000, path, 1)
    with pytest.raises(DataError, match="data.txt:3: must be JSON. Received: .*digits"):
        parse_json(f'{{"id": {"1" * 5000}}}', path, 3)
    with pytest.raises(DataError, match="'a' must be Unicode. Received: half a character"):
        field(parse_json('{"a": "\\ud83d"}', path, 1), "a", str, "here")
    assert field(parse_json('{"a": "\\ud83d\\ude00"}', path, 1), "a", str, "here") == "😀"
