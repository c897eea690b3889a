"""Arithmetic of math word problems: parsed, bounded and exact.

The published ape210k recipe runs Python's own evaluator on its data and on what the model writes.
Here an expression is parsed by operator precedence, computed with exact rationals, and refused as
soon as it is anything but arithmetic of bounded size. No deep-learning framework is imported.

Reference: https://kexue.fm/archives/7809
"""

import math
import re
from fractions import Fraction

MAX_LENGTH = 1000  # characters of an expression
MAX_DEPTH = 100  # nested brackets
MAX_EXPONENT = 512  # absolute value of an exponent
MAX_BITS = 2048  # bits of any numerator or denominator on the way, about 600 digits

_ALLOWED = re.compile(r"[0-9.+\-*/() ]+")
TOKEN = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+|\*\*|[-+*/().]")
_PRECEDENCE = {"(": 0, "+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "pos": 3, "**": 4}
_PREFIX = {"(": "(", "-": "neg", "+": "pos"}


class EquationError(ValueError):
    """The text is not bounded arithmetic."""


def tokenize(expression: str) -> list[str]:
    """Numbers, operators and brackets of bounded arithmetic, without its spaces.

    Raises:
        EquationError: it has other characters or too many.
    """
    if not isinstance(expression, str):
        raise EquationError(f"`expression` must be a str. Received: {type(expression).__name__}")
    if len(expression) > MAX_LENGTH:
        raise EquationError(
            f"`expression` must have at most {MAX_LENGTH} characters. Received: {len(expression)}"
        )
    if not _ALLOWED.fullmatch(expression):
        raise EquationError(f"`expression` must be arithmetic. Received: {expression[:80]!r}")
    return TOKEN.findall(expression)


def _number(literal: str) -> tuple[int, int]:
    whole, _, decimals = literal.partition(".")
    if len(whole) > 1 and whole[0] == "0":
        raise EquationError(f"`expression` has a number with leading zeros. Received: {literal!r}")
    numerator, scale = int(whole + decimals), 10 ** len(decimals)
    if numerator.bit_length() > MAX_BITS or scale.bit_length() > MAX_BITS:
        raise EquationError("`expression` has a number with too many digits.")
    divisor = math.gcd(numerator, scale)
    return numerator // divisor, scale // divisor


def parse(tokens: list[str]) -> list:
    """Operator-precedence parsing: tokens -> postfix list of numbers (integer pairs), operators.

    As in Python `**` binds tighter than a sign on its left and looser than one on its right, and
    groups from the right; a sign binds tighter than `*`.
    """
    output, waiting, operand_expected = [], [], True
    for token in tokens:
        is_number = token[-1].isdigit() or len(token) > 1 and token[-1] == "."
        if operand_expected != (is_number or token == "(" or operand_expected and token in "+-"):
            raise EquationError(f"`expression` has {token!r} in a wrong place.")
        if is_number:
            output.append(_number(token))
            operand_expected = False
        elif operand_expected:
            waiting.append(_PREFIX[token])
            if token == "(" and waiting.count("(") > MAX_DEPTH:
                raise EquationError(f"`expression` must nest at most {MAX_DEPTH} brackets.")
        elif token == ")":
            while waiting and waiting[-1] != "(":
                output.append(waiting.pop())
            if not waiting:
                raise EquationError("`expression` has an unbalanced closing bracket.")
            waiting.pop()
        elif token in _PRECEDENCE:
            # `**` groups from the right, so that an earlier one has to wait.
            limit = _PRECEDENCE[token] + (token == "**")
            while waiting and _PRECEDENCE[waiting[-1]] >= limit:
                output.append(waiting.pop())
            waiting.append(token)
            operand_expected = True
        else:
            raise EquationError(f"`expression` has {token!r} in a wrong place.")
    if operand_expected or "(" in waiting:
        raise EquationError("`expression` is incomplete.")
    return output + waiting[::-1]


def _power(base: tuple[int, int], exponent: tuple[int, int]) -> tuple[int, int]:
    (a, b), (n, divisor) = base, exponent
    if divisor != 1 or abs(n) > MAX_EXPONENT:
        raise EquationError(f"`expression` needs integer exponents of at most {MAX_EXPONENT}.")
    if n < 0:
        if a == 0:
            raise EquationError("`expression` divides by zero.")
        a, b, n = (b, a, -n) if a > 0 else (-b, -a, -n)
    if max(a.bit_length(), b.bit_length()) * n > 2 * MAX_BITS:
        raise EquationError("`expression` has a power with too many digits.")
    return a**n, b**n


def run(postfix: list, signs: list[int] | None = None) -> tuple[int, int]:
    """Computes what `parse` gave: a numerator and a positive denominator, in lowest terms.

    Args:
        postfix: numbers and operators.
        signs: if given, the sign of every intermediate result is appended to it.
    """
    stack = []
    for item in postfix:
        if type(item) is tuple:
            stack.append(item)
            continue
        c, d = right = stack.pop()
        if item == "neg":
            stack.append((-c, d))
            continue
        if item == "pos":
            stack.append(right)
            continue
        a, b = left = stack.pop()
        if item == "+":
            a, b = a * d + c * b, b * d
        elif item == "-":
            a, b = a * d - c * b, b * d
        elif item == "*":
            a, b = a * c, b * d
        elif item == "**":
            a, b = _power(left, right)
        elif c == 0:
            raise EquationError("`expression` divides by zero.")
        else:
            a, b = (a * d, b * c) if c > 0 else (-a * d, -b * c)
        divisor = math.gcd(a, b)
        a, b = a // divisor, b // divisor
        if a.bit_length() > MAX_BITS or b.bit_length() > MAX_BITS:
            raise EquationError("`expression` has an intermediate result with too many digits.")
        if signs is not None:
            signs.append((a > 0) - (a < 0))
        stack.append((a, b))
    return stack.pop()


def evaluate(expression: str) -> Fraction:
    """Value of an arithmetic expression, exactly.

    Allowed are `+ - * / **`, signs, round brackets, spaces, and numbers written in ASCII digits
    such as `12` or `3.14` (taken as 314/100, not as the nearest float). An exponent must have an
    integer value. Precedence is Python's: `-2**2` is -4 and `2**3**2` is 512.

    Args:
        expression: at most `MAX_LENGTH` characters.

    Raises:
        EquationError: the text is anything else, divides by zero, or exceeds one of the bounds
            `MAX_DEPTH`, `MAX_EXPONENT`, `MAX_BITS`. This takes milliseconds, whatever the text.

    Example:

    >>> evaluate("(1+2)/4 + 0.1")
    Fraction(17, 20)
    >>> evaluate("9**9**9")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
        ...
    EquationError: `expression` needs integer exponents of at most 512.
    """
    return Fraction(*run(parse(tokenize(expression))))


def _value(x) -> Fraction | None:
    if isinstance(x, bool):
        return None
    if isinstance(x, (int, Fraction)) or isinstance(x, float) and math.isfinite(x):
        return Fraction(x)
    try:
        return evaluate(x)
    except EquationError:
        return None


def equal(a: str | int | float | Fraction, b: str | int | float | Fraction) -> bool:
    """Whether two answers agree when rounded to six decimals.

    It never raises, since one side usually comes from a model: what is not bounded arithmetic
    equals nothing, not even itself.

    Example:

    >>> equal("1/3", "0.3333333"), equal("1/0", "1/0")
    (True, False)
    """
    a, b = _value(a), _value(b)
    return a is not None and b is not None and round(a, 6) == round(b, 6)


def strip_brackets(expression: str) -> str:
    """Drops brackets as long as the value stays exactly the same.

    Pairs are tried one at a time in the order in which they close, again and again until none can
    go; so the result is stable under a second call. Spaces are dropped too. The test is on the
    value, as in the article: `(2-1)/1` loses its brackets as well.

    Raises:
        EquationError: `expression` is not bounded arithmetic.

    Example:

    >>> strip_brackets("((1+2))*(3/4)")
    '(1+2)*3/4'
    """
    tokens = tokenize(expression)
    value = run(parse(tokens))
    while True:
        opened, shorter = [], list(tokens)
        for i, token in enumerate(tokens):
            if token == "(":
                opened.append(i)
            elif token == ")":
                trial = list(shorter)
                trial[opened.pop()] = trial[i] = ""
                try:
                    if run(parse(list(filter(None, trial)))) == value:
                        shorter = trial
                except EquationError:
                    continue
        if shorter == tokens:
            return "".join(tokens)
        tokens = list(filter(None, shorter))
