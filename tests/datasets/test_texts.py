"""The texts of files of any kind."""

import json

import pytest

from kexue_keras.datasets.lines import DataError
from kexue_keras.datasets.texts import load_texts, not_inside

pytestmark = pytest.mark.once


def test_files_of_texts(tmp_path):
    def texts(name, content):
        (tmp_path / name).write_text(content, encoding="utf-8")
        return load_texts(tmp_path / name, 3)

    document = {"a": ["一二三", {"b": "四五六七", "c": 1}], "d": "短", "e": "一二三"}
    text = json.dumps(document, ensure_ascii=False, indent=1)
    assert texts("x.json", text) == ["一二三", "四五六七"]
    assert texts("x.jsonl", '{"s": "一二三"}\n\n{"s": "四五六", "n": null}\n') == [
        "一二三",
        "四五六",
    ]
    assert texts("x.tsv", "一二三\t1\n四五六\t0\n") == ["一二三", "四五六"]
    assert texts("x.txt", "一二\t三\n\n四五六\n") == ["一二\t三", "四五六"]
    with pytest.raises(DataError, match=r"bad\.jsonl:2: must be JSON"):
        texts("bad.jsonl", '{"s": "一二三"}\n{"s": \n')
    with pytest.raises(DataError, match=r"bad\.json:2: must be JSON"):
        texts("bad.json", '{\n"s": ]\n')
    with pytest.raises(DataError, match=r"bad\.txt:1: must have a text of 3 characters"):
        texts("bad.txt", "一\n二\n")


def test_texts_inside_others():
    passage = "天地玄黄宇宙洪荒日月盈昃辰宿列张"
    train = [passage + "寒来暑往", "云腾致雨"]
    test = [passage, 4 * passage[::-1] + "云腾致雨"]
    assert not_inside(train, test) == train[:1]
    assert not_inside(test, train[:1]) == test[1:]
