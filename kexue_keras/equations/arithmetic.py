"""Arithmetic of math word problems: exact bounded evaluation, normalisation and augmentation.

The published ape210k recipe runs Python's own evaluator on its data and on what the model writes.
Here an expression is parsed by operator precedence, computed with exact rationals, and refused as
soon as it is anything but arithmetic of bounded size. No deep-learning framework is imported.

Reference: https://kexue.fm/archives/7809
"""

import math
import random
import re
from fractions import Fraction

MAX_LENGTH = 1000  # characters of an expression
MAX_DEPTH = 100  # nested brackets
MAX_EXPONENT = 512  # absolute value of an exponent
MAX_BITS = 2048  # bits of any numerator or denominator on the way, about 600 digits

_ALLOWED = re.compile(r"[0-9.+\-*/() ]+")
_TOKEN = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+|\*\*|[-+*/().]")
_PRECEDENCE = {"(": 0, "+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "pos": 3, "**": 4}
_PREFIX = {"(": "(", "-": "neg", "+": "pos"}

_MIXED_FRACTION = re.compile(r"(?<![0-9.])([0-9]+)\(([0-9]+/[0-9]+)\)")
_PLAIN_FRACTION = re.compile(r"\(([0-9]+/[0-9]+)\)")
_PERCENT = re.compile(r"(?<![0-9.])([0-9.]+)%")


class EquationError(ValueError):
    """The text is not bounded arithmetic."""


def _tokenize(expression: str) -> list[str]:
    if not isinstance(expression, str):
        raise EquationError(f"`expression` must be a str. Received: {type(expression).__name__}")
    if len(expression) > MAX_LENGTH:
        raise EquationError(
            f"`expression` must have at most {MAX_LENGTH} characters. Received: {len(expression)}"
        )
    if not _ALLOWED.fullmatch(expression):
        raise EquationError(f"`expression` must be arithmetic. Received: {expression[:80]!r}")
    return _TOKEN.findall(expression)


def _number(literal: str) -> tuple[int, int]:
    whole, _, decimals = literal.partition(".")
    if len(whole) > 1 and whole[0] == "0":
        raise EquationError(f"`expression` has a number with leading zeros. Received: {literal!r}")
    numerator, scale = int(whole + decimals), 10 ** len(decimals)
    if numerator.bit_length() > MAX_BITS or scale.bit_length() > MAX_BITS:
        raise EquationError("`expression` has a number with too many digits.")
    divisor = math.gcd(numerator, scale)
    return numerator // divisor, scale // divisor


def _postfix(tokens: list[str]) -> list:
    """Operator-precedence parsing: tokens -> numbers (as integer pairs) and operators, postfix.

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


def _run(postfix: list, signs: list[int] | None = None) -> tuple[int, int]:
    """Computes a postfix list; `signs` receives the sign of every intermediate result."""
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
    return Fraction(*_run(_postfix(_tokenize(expression))))


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
    tokens = _tokenize(expression)
    value = _run(_postfix(tokens))
    while True:
        opened, shorter = [], list(tokens)
        for i, token in enumerate(tokens):
            if token == "(":
                opened.append(i)
            elif token == ")":
                trial = list(shorter)
                trial[opened.pop()] = trial[i] = ""
                try:
                    if _run(_postfix(list(filter(None, trial)))) == value:
                        shorter = trial
                except EquationError:
                    continue
        if shorter == tokens:
            return "".join(tokens)
        tokens = list(filter(None, shorter))


def normalize(question: str, equation: str, answer: str) -> tuple[str, str, str] | None:
    """Brings a raw ape210k or Math23K problem into the form a model is trained on.

    In this order: mixed fractions `a(b/c)` become `(a+b/c)`, and another bracket right after a
    digit is an addition; plain fractions in the question lose their brackets; `a%` becomes
    `(a/100)` in equation and answer; `:` becomes `/` and a leading `x=` goes; the sample is kept
    only if equation and answer agree to six decimals; redundant brackets of the equation go.

    Args:
        question: `original_text` of the problem.
        equation: such as `"x=120*80%"`.
        answer: such as `"96"`, `"96%"` or `"1(2/3)"`.

    Returns:
        The normalised question, equation and answer, or None for an inconsistent sample.

    Example:

    >>> normalize("一条绳长1(1/2)米，用去(1/3)，用去多少米？", "x=1(1/2)*(1/3)", "(1/2)")
    ('一条绳长(1+1/2)米，用去1/3，用去多少米？', '(1+1/2)*1/3', '(1/2)')

    Reference: https://kexue.fm/archives/7809
    """
    if not all(isinstance(text, str) for text in (question, equation, answer)):
        return None
    question = _PLAIN_FRACTION.sub(r"\1", _MIXED_FRACTION.sub(r"(\1+\2)", question))
    equation, answer = _arithmetic(equation).removeprefix("x="), _arithmetic(answer)
    return (question, strip_brackets(equation), answer) if equal(equation, answer) else None


def _arithmetic(text: str) -> str:
    text = re.sub(r"(?<=[0-9])\(", "+(", _MIXED_FRACTION.sub(r"(\1+\2)", text))
    return _PERCENT.sub(r"(\1/100)", text).replace(":", "/").replace("%", "/100")


# A number of a question is one unit, whatever its form: (1+1/2), 1/2, 50%, 50, 0.5
_UNIT = re.compile(
    r"(?<![0-9A-Za-z./])(?:\([0-9]+\+[0-9]+/[0-9]+\)|[0-9]+/[0-9]+|[0-9]+(?:\.[0-9]+)?%?)"
    r"(?![0-9./%])"
)
_YEAR = re.compile(r"(?:19|20)[0-9]{2}(?=年)")
# Numbers that equations also use on their own account: replaced only where they occur once.
_CONSTANTS = frozenset("2 3 3.14 7 10 12 24 30 60 180 360 365 1000 10000".split())
_NEVER_REPLACED = frozenset(("0", "1", "100", "100%"))
_ATTEMPTS = 32


def _spelling(unit: str) -> list[str]:
    """The tokens of a unit in an equation, brackets aside."""
    return _TOKEN.findall(unit.strip("()").replace("%", "/100"))


def _random_number(literal: str, rng: random.Random) -> str:
    """A random number with the same number of digits, decimals and trailing zeros."""
    whole, _, decimals = literal.partition(".")
    digits = (whole + decimals).lstrip("0")
    size = len(digits.rstrip("0"))
    if size == 0:
        return literal
    drawn = rng.randrange(2 if len(literal) == 1 else 10 ** (size - 1), 10**size)
    drawn += drawn % 10 == 0
    text = (str(drawn) + "0" * (len(digits) - size)).zfill(len(decimals) + 1)
    return f"{text[: -len(decimals)]}.{text[-len(decimals) :]}" if decimals else text


def _random_unit(unit: str, rng: random.Random) -> str:
    """A random unit of the same form; a fraction stays proper or in lowest terms if it is."""
    if "/" not in unit:
        return _random_number(unit.rstrip("%"), rng) + "%" * (unit[-1] == "%")
    whole, _, fraction = unit.strip("()").rpartition("+")
    numerator, denominator = fraction.split("/")
    old_a, old_b = int(numerator), int(denominator)
    for _ in range(8):
        b = int(_random_number(denominator, rng))
        a = rng.randrange(1, b) if 0 < old_a < old_b else int(_random_number(numerator, rng))
        if math.gcd(a, b) == 1 or math.gcd(old_a, old_b) > 1:
            fraction = f"{a}/{b}"
            break
    return f"({_random_number(whole, rng)}+{fraction})" if whole else fraction


def _replaceable(question: str, tokens: list[str]) -> tuple[dict[str, list[int]], set[str]]:
    """Units of the question that certainly stand for certain tokens, and all other numbers."""
    found = _UNIT.findall(question)
    units = sorted(set(found), key=lambda unit: (-len(_spelling(unit)), unit))
    fixed = set(_NEVER_REPLACED).union(_YEAR.findall(question))
    free, places = list(tokens), {}
    for unit in units:
        spelling = _spelling(unit)
        size = len(spelling)
        places[unit] = [i for i in range(len(free)) if free[i : i + size] == spelling]
        for i in places[unit]:
            free[i : i + size] = [""] * size
        if unit in _CONSTANTS and not found.count(unit) == len(places[unit]) == 1:
            fixed.add(unit)
    constants = {token for token in free if token[:1].isdigit()}
    for unit in units:
        spelling = _spelling(unit)
        # `25%` beside a plain 25, or `1/4` beside a 4 in the equation: which is which is a guess.
        parts = set(spelling) - {"/", "+", "1", "100"} if len(spelling) > 1 else set()
        if parts & constants or parts.intersection(units):
            fixed |= parts | {unit}
    sure = {unit: where for unit, where in places.items() if where and unit not in fixed}
    return sure, constants.union(fixed, units).difference(sure)


def _kind(answer: str, denominator: int) -> int:
    """0: integer; 1: decimal of at most six digits; 2: fraction."""
    return 0 if denominator == 1 else 2 if "/" in answer or 10**6 % denominator else 1


def _answer_text(numerator: int, denominator: int) -> str:
    if _kind("", denominator) != 1:
        return str(Fraction(numerator, denominator))
    whole, rest = divmod(abs(numerator) * 10**6 // denominator, 10**6)
    return "-" * (numerator < 0) + f"{whole}.{rest:06d}".rstrip("0")


def resample_numbers(
    question: str, equation: str, answer: str, rng: random.Random
) -> tuple[str, str, str] | None:
    """Makes a new problem of a normalised one by drawing new numbers: data augmentation.

    A number is replaced wherever it occurs in question and equation, by one of its like: with as
    many digits and decimals, a percentage by a percentage, a proper fraction by a proper fraction.
    Different numbers stay different. What is in the equation only (the 3.14 of a circle) stays, and
    so does a number of the question whose part in the equation is not certain: years, 0, 1 and 100
    always, numbers such as 2 or 60 if they occur more than once. Each intermediate result keeps its
    sign, an integral answer stays integral and a decimal one stays a short decimal.

    Args:
        question: as `normalize` returns it; `equation` and `answer` likewise.
        rng: the source of randomness, a `random.Random`.

    Returns:
        New question, equation and exact answer; None where no draw was possible or acceptable.

    Raises:
        EquationError: `equation` is not bounded arithmetic.

    Example:

    >>> resample_numbers("每班40人，3个班共有多少人？", "40*3", "120", random.Random(1))
    ('每班20人，4个班共有多少人？', '20*4', '80')
    """
    tokens, signs = _tokenize(equation), []
    kind = _kind(answer, _run(_postfix(tokens), signs)[1])
    places, taken = _replaceable(question, tokens)
    units = list(places)
    for attempt in range(_ATTEMPTS if units and signs else 0):
        # Where new numbers throughout will not do, a part of them may.
        chosen = units if attempt < 8 else rng.sample(units, rng.randint(1, len(units)))
        new = {unit: _random_unit(unit, rng) if unit in chosen else unit for unit in units}
        new_tokens, new_signs = list(tokens), []
        for unit, starts in places.items():
            for start in starts:
                spelling = _spelling(new[unit])
                new_tokens[start : start + len(spelling)] = spelling
        distinct = len(set(new.values())) == len(units) and taken.isdisjoint(new.values())
        if not distinct or new_tokens == tokens:
            continue
        try:
            value = _run(_postfix(new_tokens), new_signs)
        except EquationError:
            continue
        if new_signs == signs and _kind(answer, value[1]) <= kind:
            pieces = (new.get(piece, piece) for piece in re.split(f"({_UNIT.pattern})", question))
            return "".join(pieces), "".join(new_tokens), _answer_text(*value)
    return None
