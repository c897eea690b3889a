"""The prefix tree of a knowledge base is built once for the same files and vocabulary."""

import pytest

from kexue_keras.datasets.knowledge_tree import open_tree, read_triples

pytestmark = pytest.mark.once

LINES = ["甲(城市)\t人口\t三", "甲\t高\t二", "乙\t高\t一"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "knowledge.tsv"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def encode(keys):
    return [[ord(c) % 60_000 for c in "".join(key)] for key in keys]


def test_triples_of_several_files_come_one_after_another(path):
    found = [(t.subject, t.meaning, t.predicate, t.object) for t in read_triples([path, path])]
    assert found[:3] == found[3:] and len(found) == 6
    assert found[0][0].startswith("甲") and found[0][3] == "三"


def test_the_tree_is_built_once_and_anew_for_another_vocabulary_or_file(path, tmp_path):
    calls = []

    def counting(keys):
        calls.append(len(keys))
        return encode(keys)

    folder = tmp_path / "run"
    tree = open_tree([path], counting, ["a", "b"], folder)
    assert len(tree) == 3 and calls == [3]
    again = open_tree([path], counting, ["a", "b"], folder)
    assert list(again) == list(tree) and calls == [3]
    open_tree([path], counting, ["a", "c"], folder)
    path.write_text(LINES[0] + "\n", encoding="utf-8")
    assert len(open_tree([path], counting, ["a", "b"], folder)) == 1
    assert calls == [3, 3, 1] and len(list(folder.glob("tree-*.bin"))) == 3
