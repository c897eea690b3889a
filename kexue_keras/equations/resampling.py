"""New problems from old ones, by drawing new numbers. No deep-learning framework is imported."""

import math
import random
import re
from fractions import Fraction

from kexue_keras.equations.arithmetic import EquationError, parse, run, tokenize
from kexue_keras.equations.normalization import UNIT, unit_tokens

_YEAR = re.compile(r"(?:19|20)[0-9]{2}(?=年)")
# Numbers that equations also use on their own account: replaced only where they occur once.
_CONSTANTS = frozenset("2 3 3.14 7 10 12 24 30 60 180 360 365 1000 10000".split())
_NEVER_REPLACED = frozenset(("0", "1", "100", "100%"))
_ATTEMPTS = 32


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
    found = UNIT.findall(question)
    units = sorted(set(found), key=lambda unit: (-len(unit_tokens(unit)), unit))
    fixed = set(_NEVER_REPLACED).union(_YEAR.findall(question))
    free, places = list(tokens), {}
    for unit in units:
        spelling = unit_tokens(unit)
        size = len(spelling)
        places[unit] = [i for i in range(len(free)) if free[i : i + size] == spelling]
        for i in places[unit]:
            free[i : i + size] = [""] * size
        if unit in _CONSTANTS and not found.count(unit) == len(places[unit]) == 1:
            fixed.add(unit)
    constants = {token for token in free if token[:1].isdigit()}
    for unit in units:
        spelling = unit_tokens(unit)
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
    tokens, signs = tokenize(equation), []
    kind = _kind(answer, run(parse(tokens), signs)[1])
    places, taken = _replaceable(question, tokens)
    units = list(places)
    for attempt in range(_ATTEMPTS if units and signs else 0):
        # Where new numbers throughout will not do, a part of them may.
        chosen = units if attempt < 8 else rng.sample(units, rng.randint(1, len(units)))
        new = {unit: _random_unit(unit, rng) if unit in chosen else unit for unit in units}
        new_tokens, new_signs = list(tokens), []
        for unit, starts in places.items():
            for start in starts:
                spelling = unit_tokens(new[unit])
                new_tokens[start : start + len(spelling)] = spelling
        distinct = len(set(new.values())) == len(units) and taken.isdisjoint(new.values())
        if not distinct or new_tokens == tokens:
            continue
        try:
            value = run(parse(new_tokens), new_signs)
        except EquationError:
            continue
        if new_signs == signs and _kind(answer, value[1]) <= kind:
            pieces = (new.get(piece, piece) for piece in re.split(f"({UNIT.pattern})", question))
            return "".join(pieces), "".join(new_tokens), _answer_text(*value)
    return None
