"""New problems from old ones."""

import random
import re

import pytest

from kexue_keras.datasets import load_ape210k
from kexue_keras.equations import evaluate, resample_numbers, resampling

NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def check(old, new):
    """Question and equation changed in the numbers only, consistently, and the answer fits."""
    (question, equation, _), (new_question, new_equation, new_answer) = old, new
    assert evaluate(new_equation) == evaluate(new_answer)
    value, new_value = evaluate(equation), evaluate(new_equation)
    assert (value > 0) == (new_value > 0)
    assert value.denominator > 1 or new_value.denominator == 1
    for before, after in ((question, new_question), (equation, new_equation)):
        assert NUMBER.sub("#", before) == NUMBER.sub("#", after)
        for a, b in zip(NUMBER.findall(before), NUMBER.findall(after), strict=True):
            assert len(a.partition(".")[2]) == len(b.partition(".")[2])
            assert len(a) == len(b) or "/" in before
    assert new_question != question


@pytest.mark.parametrize(
    "question, equation",
    [
        ("小明有35个苹果，吃了12个，还剩多少个？", "35-12"),
        ("3元一支的笔买了8支，要多少元？", "3*8"),
        ("一本书有320页，读了它的1/8，读了多少页？", "320*1/8"),
        ("一件衣服450元，降价25%，便宜多少元？", "450*25/100"),
        ("绳长(3+1/2)米，用去(1+1/4)米，还剩多少米？", "3+1/2-(1+1/4)"),
        ("一斤糖3.75元，买4.2斤要多少元？", "3.75*4.2"),
        ("圆的半径是5米，周长是多少米？", "2*3.14*5"),
        ("第一天和第二天都走了15千米，共走30千米后还剩46千米，全长？", "15+15+46"),
    ],
)
def test_new_problem_is_consistent(question, equation):
    old = (question, equation, str(evaluate(equation)))
    rng, seen = random.Random(0), set()
    for _ in range(50):
        new = resample_numbers(*old, rng)
        if new:
            check(old, new)
            seen.add(new)
    assert len(seen) > 5


def test_constants_years_and_parts_of_words_stay():
    question = "2008年A4纸每包100张，1天用17张，圆周率3.14"
    question, equation, _ = resample_numbers(
        question, "2008+4+100*1+17*3.14*3.14", "2279.5972", random.Random(0)
    )
    assert re.fullmatch(r"2008年A4纸每包100张，1天用[0-9]{2}张，圆周率3\.14", question)
    assert re.fullmatch(r"2008\+4\+100\*1\+[0-9]{2}\*3\.14\*3\.14", equation)


def test_numbers_are_matched_whole():
    new = resample_numbers("13个人有3个包和130元", "130-13*3", "91", random.Random(3))
    a, b, c = re.fullmatch("(.*)个人有(.*)个包和(.*)元", new[0]).groups()
    assert new[1] == f"{c}-{a}*{b}"


@pytest.mark.parametrize(
    "question, equation",
    [
        ("没有数字", "1+1"),
        ("一天100个", "100*1"),
        ("2□*4的积是两位数，□里最大填几", "4"),
        ("25个人的25%是多少", "25*25/100"),
        ("一块蛋糕的1/4分给4人", "1/4/4"),
    ],
)
def test_ambiguous_is_left_alone(question, equation):
    answer = str(evaluate(equation))
    assert resample_numbers(question, equation, answer, random.Random(0)) is None


def test_same_seed_same_problem():
    problem = ("有35个苹果，吃了12个", "35-12", "23")
    first = resample_numbers(*problem, random.Random(4))
    assert first == resample_numbers(*problem, random.Random(4))


def test_answers_are_exact():
    rng = random.Random(5)
    answers = [resample_numbers("35元分给8人", "35/8", "4.375", rng)[2] for _ in range(30)]
    assert all(re.fullmatch(r"[0-9]+(\.[0-9]*[1-9])?", answer) for answer in answers)


def test_real_problems(shared, monkeypatch):
    rows = load_ape210k(shared / "data/math/ape210k_valid.jsonl.xz")
    kept = [(row["question"], row["equation"], row["answer"]) for row in rows]
    rng, changed, computed = random.Random(0), 0, []
    run = resampling.run
    monkeypatch.setattr(resampling, "run", lambda *args: computed.append(0) or run(*args))
    new = [resample_numbers(*sample, rng) for sample in kept]
    for old, resampled in zip(kept, new, strict=True):
        if resampled:
            changed += 1
            assert evaluate(resampled[1]) == evaluate(resampled[2])
            assert NUMBER.sub("#", old[0]) == NUMBER.sub("#", resampled[0])
            assert NUMBER.sub("#", old[1]) == NUMBER.sub("#", resampled[1])
    assert changed > 0.8 * len(kept)
    # few tries are enough: it is called for every problem in every epoch
    assert len(computed) < 6 * len(kept)
