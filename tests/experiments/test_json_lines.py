"""Results as JSON lines, written in parts that are continued."""

import json

import pytest

from kexue_keras.experiments.json_lines import write_rows_in_parts

pytestmark = pytest.mark.once


def rows_of(part, start):
    return [{"text": text, "start": start} for text in part]


def test_parts_make_one_file(tmp_path):
    path = tmp_path / "x.jsonl"
    write_rows_in_parts(path, "一二三四五", rows_of, {"seed": 1}, size=2)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == list("一二三四五")
    assert [row["start"] for row in rows] == [0, 0, 2, 2, 4]
    assert [p.name for p in tmp_path.iterdir()] == ["x.jsonl"]


@pytest.mark.parametrize("stop", [1, 2])
def test_an_interruption_loses_one_part(tmp_path, stop):
    path, asked = tmp_path / "x.jsonl", []

    def interrupted(part, start):
        if len(asked) == stop:
            raise KeyboardInterrupt
        asked.append(start)
        return rows_of(part, start)

    with pytest.raises(KeyboardInterrupt):
        write_rows_in_parts(path, "一二三四五", interrupted, {"seed": 1}, size=2)
    partial = tmp_path / "x.partial"
    assert not path.exists()
    # a full disk cut a line within a character
    partial.write_bytes(partial.read_bytes() + '{"text": "五'.encode()[:-1])
    with pytest.raises(ValueError, match="x.partial was begun with other options"):
        write_rows_in_parts(path, "一二三四五", rows_of, {"seed": 2}, size=2)
    again = []

    def counted(part, start):
        again.append(start)
        return rows_of(part, start)

    write_rows_in_parts(path, "一二三四五", counted, {"seed": 1}, size=2)
    assert asked + again == [0, 2, 4] and not partial.exists()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == list("一二三四五")
