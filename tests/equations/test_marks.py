"""Marks in place of numbers, and back."""

import random

import pytest

from kexue_keras import equations
from kexue_keras.datasets import load_ape210k
from kexue_keras.equations import EquationError
from kexue_keras.equations.marks import MARKS, mask_numbers, unmask_numbers

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "question, equation, masked, numbers",
    [
        ("有12个和3个", "12+3", "①+②", ["12", "3"]),
        ("半径3米，π取3.14", "3.14*3*3", "②*①*①", ["3", "3.14"]),
        ("半径3米", "3.14*3*3", "3.14*①*①", ["3"]),
        ("120的25%", "120*25/100", "①*②", ["120", "25%"]),
        ("25个的25%", "25*25/100", "①*②", ["25", "25%"]),
        ("8件分25份，打25%折", "8/25/100", "①/②/100", ["8", "25", "25%"]),
        ("1/3和(1+1/2)", "1/3+(1+1/2)", "①+(②)", ["1/3", "(1+1/2)"]),
        ("没有数", "1+1", "1+1", []),
    ],
)
def test_known_problems(question, equation, masked, numbers):
    found = mask_numbers(question, equation)
    assert found[1:] == (masked, numbers)
    assert not any(number in found[0] for number in numbers if len(number) > 1)
    assert equations.equal(unmask_numbers(masked, numbers), equation)


def test_equal_numbers_share_a_mark_and_the_eleventh_stays():
    assert mask_numbers("3个班每班3人")[0] == "①个班每班①人"
    question = "、".join(str(n) for n in range(20, 32))
    masked, equation, numbers = mask_numbers(question, "29+30")
    assert masked == "、".join([*MARKS, "30", "31"])
    assert equation == "⑩+30" and len(numbers) == 10


def test_marks_keep_every_value_of_random_problems():
    rng = random.Random(0)
    units = ["3", "25", "25%", "1/4", "4", "(1+1/4)", "100", "0.5", "1"]
    for _ in range(2000):
        chosen = rng.sample(units, 4)
        operators = rng.choices("+-*/", k=3)
        spelled = [unit.replace("%", "/100") for unit in chosen]
        equation = spelled[0] + "".join(o + s for o, s in zip(operators, spelled[1:], strict=True))
        masked_question, masked, numbers = mask_numbers("，".join(chosen), equation)
        assert equations.equal(unmask_numbers(masked, numbers), equation), (equation, masked)
        assert masked_question == "，".join(MARKS[:4])


def test_a_mark_without_a_number_is_an_error():
    with pytest.raises(EquationError, match="③.*are 2"):
        unmask_numbers("①+③", ["1", "2"])
    with pytest.raises(EquationError, match="must be arithmetic"):
        mask_numbers("3", "a+b")


def test_real_problems_keep_their_values(shared):
    problems = load_ape210k(shared / "data" / "math" / "ape210k_valid.jsonl.xz")
    masked = 0
    for problem in problems:
        _, equation, numbers = mask_numbers(problem["question"], problem["equation"])
        assert equations.equal(unmask_numbers(equation, numbers), problem["answer"])
        masked += equation != problem["equation"]
    assert masked > 0.9 * len(problems)


@pytest.mark.parametrize("equation", ["①②", "3①", "①.②", "①2+1", "②*①①"])
def test_marks_without_an_operator_between_them_are_no_number(equation):
    with pytest.raises(EquationError, match="without an operator"):
        unmask_numbers(equation, ["12", "5"])
