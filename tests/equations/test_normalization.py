"""Math word problems in the form that a model is trained on."""

import json
import lzma

import pytest

from kexue_keras.equations import equal, evaluate, normalize, strip_brackets
from kexue_keras.equations.normalization import UNIT, unit_tokens


def read(path):
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def normalized(path):
    rows = read(path)
    found = [normalize(row["original_text"], row["equation"], row["ans"]) for row in rows]
    return rows, found


@pytest.mark.parametrize(
    "sample, expected",
    [
        (("有1(1/2)米", "x=1(1/2)", "1(1/2)"), ("有(1+1/2)米", "1+1/2", "(1+1/2)")),
        (("q", "2(3+4)", "2((2)+(5))"), ("q", "2+3+4", "2+((2)+(5))")),
        (("吃了(3/4)和(1/4)", "(3/4)", "3/4"), ("吃了3/4和1/4", "3/4", "3/4")),
        (("(1+2)/3", "(1+2)/3", "1"), ("(1+2)/3", "(1+2)/3", "1")),
        (("打80%", "x=100*80%", "80"), ("打80%", "100*80/100", "80")),
        (("q", "5/50%", "10"), ("q", "5/(50/100)", "10")),
        (("q", "(1+2)%", "3%"), ("q", "(1+2)/100", "(3/100)")),
        (("甲3：2", "x=3:2", "1.5"), ("甲3：2", "3/2", "1.5")),
        (("q", "12.5%", "0.125"), ("q", "12.5/100", "0.125")),
        (("q", "((1+2))", "3.0000001"), ("q", "1+2", "3.0000001")),
        (("q", "1(1/2)*2(1/2)", "3.75"), ("q", "(1+1/2)*(2+1/2)", "3.75")),
        (
            ("q", "x=120/[(1-6%)-(1-30%)]", "500"),
            ("q", "120/(1-6/100-(1-30/100))", "500"),
        ),
        (("q", "x=3^2*5", "45"), ("q", "3**2*5", "45")),
        (("q", "x = {2×3}÷[1+1]", " 3 "), ("q", "2*3/(1+1)", "3")),
        (("q", "Ｘ＝（１＋２）：３", "１"), ("q", "(1+2)/3", "1")),
        (("q", "X=1,000+1,234,567", "1,235,567"), ("q", "1000+1234567", "1235567")),
        (("q", "5−3–1", "1"), ("q", "5-3-1", "1")),
    ],
)
def test_steps(sample, expected):
    assert normalize(*sample) == expected


@pytest.mark.parametrize(
    "sample",
    [
        ("q", "x=1+1", "3"),
        ("q", "x=1/0", "1/0"),
        ("q", "x=[1+1", "2"),
        ("q", "x=1,00", "100"),
        ("q", "x=__import__('os')", "1"),
        ("q", "x=9**9**9", "9**9**9"),
        ("q", "", ""),
        ("q", "x=x=1", "1"),
        (None, "1", "1"),
        ("q", 1, "1"),
        ("q", "1", None),
    ],
)
def test_inconsistent_samples_are_dropped(sample):
    assert normalize(*sample) is None


@pytest.mark.parametrize("text", ["1" * 500_000, "1(" * 500_000, "(1/" * 500_000, "1%" * 500_000])
def test_long_texts_take_linear_time(text):
    """In quadratic time this test would not come to an end."""
    assert normalize(text, text, text) is None


def test_published_number_of_samples(shared):
    rows, found = normalized(shared / "data/math/ape210k_valid.jsonl.xz")
    kept = [sample for sample in found if sample]
    assert len(rows) == 5000
    assert len(kept) == 4999
    for _, equation, answer in kept:
        assert equal(evaluate(equation), answer)
        assert strip_brackets(equation) == equation


def test_math23k(shared):
    rows, found = normalized(shared / "data/math/math23k_train.jsonl.xz")
    assert len(rows) == 16_809
    assert sum(sample is not None for sample in found) == 16_809


def test_units_of_a_question():
    assert UNIT.findall("(1+1/2)米的1/2，50%、50和0.5，A4纸，1.2.3") == [
        "(1+1/2)",
        "1/2",
        "50%",
        "50",
        "0.5",
    ]
    assert unit_tokens("(1+1/2)") == ["1", "+", "1", "/", "2"]
    assert unit_tokens("50%") == ["50", "/", "100"]
