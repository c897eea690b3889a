"""Answers of word problems as a pupil writes them."""

import pytest

from kexue_keras.equations import EquationError
from kexue_keras.equations.answers import answer_text


@pytest.mark.parametrize(
    "question, equation, expected",
    [
        ("多少米？", "(1+2)/4", "3/4"),
        ("多少米？", "1.5*3", "4.5"),
        ("占百分之几？", "3/4", "75%"),
        ("至少需要多少辆车？", "10/4", "3"),
        ("最多能做多少个？", "10/4", "2"),
        ("多少人？", "10/5", "2"),
    ],
)
def test_answers_as_a_pupil_writes_them(question, equation, expected):
    assert answer_text(question, equation) == expected


def test_a_value_that_is_no_decimal_is_refused():
    with pytest.raises(EquationError, match="too large for a decimal"):
        answer_text("占百分之几？", "99**99*99**99")
