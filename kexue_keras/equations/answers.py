"""The answer of a word problem as a pupil would write it. No deep-learning framework is imported.

Reference: https://kexue.fm/archives/7809
"""

import math
import re
from fractions import Fraction

from kexue_keras.equations import EquationError, evaluate

_WHOLE = re.compile("多少[辆人个只箱棵条]|几[辆人个只箱棵条]")


def answer_text(question: str, equation: str) -> str:
    """The value of an equation: a fraction, a decimal, a percentage, or a whole number.

    A percentage where the question asks for one (百分之几); whole numbers of people, cars..., the
    next larger one, or the next smaller one of "at most" (至多, 最多); a decimal if there is one in
    the equation; else a fraction.

    Raises:
        EquationError: `equation` is not bounded arithmetic, or its value is too large.

    Example:

    >>> answer_text("至少需要多少辆车？", "10/4"), answer_text("多少米？", "(1+2)/4")
    ('3', '3/4')
    """
    value = evaluate(equation)
    if "百分之几" in question:
        return f"{_float(value * 100):g}%"
    if _WHOLE.search(question) and value.denominator != 1:
        at_most = "至多" in question or "最多" in question
        return str(math.floor(value) if at_most else math.ceil(value))
    if "." in equation:
        return f"{_float(value):.10g}"
    return str(Fraction(value))


def _float(value):
    try:
        return float(value)
    except OverflowError as error:
        raise EquationError(f"the answer is too large for a decimal: {error}") from error
