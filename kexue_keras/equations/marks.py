"""Word problems with their numbers replaced by marks: `①` for the first, `②` for the second...

A model then need not copy digits: it says which number goes where. This is how most work on
Math23K reads its problems. No deep-learning framework is imported.

Reference: Wang, Liu and Shi, 2017, https://aclanthology.org/D17-1088 (number mapping)
"""

import re

from kexue_keras.equations.arithmetic import EquationError, equal, tokenize
from kexue_keras.equations.normalization import UNIT, unit_tokens

MARKS = "①②③④⑤⑥⑦⑧⑨⑩"  # all of them are tokens of BERT's Chinese vocabulary
_TOUCHING = re.compile(f"[{MARKS}0-9.][{MARKS}]|[{MARKS}][0-9.]")


def mask_numbers(question: str, equation: str = "") -> tuple[str, str, list[str]]:
    """Replaces the numbers of a question by marks, and those of its equation accordingly.

    Equal numbers get the same mark; numbers after the tenth different one stay. What the equation
    alone has (the 3.14 of a circle) stays. A percentage or a fraction is one number: `25%` and the
    `25/100` of the equation become one mark. Where such a grouping would change the value of the
    equation, as in `8/25/100`, single numbers are replaced and the rest stays as it is.

    Args:
        question: as `normalize` returns it.
        equation: likewise; may be left out.

    Returns:
        The question and the equation with marks, and the numbers: the i-th belongs to `MARKS[i]`.

    Raises:
        EquationError: `equation` is not bounded arithmetic.

    Example:

    >>> mask_numbers("果园有120棵树，其中25%是梨树，梨树有多少棵？", "120*25/100")
    ('果园有①棵树，其中②是梨树，梨树有多少棵？', '①*②', ['120', '25%'])
    """
    numbers = list(dict.fromkeys(UNIT.findall(question)))[: len(MARKS)]
    marks = dict(zip(numbers, MARKS, strict=False))
    masked = UNIT.sub(lambda match: marks.get(match.group(), match.group()), question)
    if not equation:
        return masked, "", numbers
    tokens = tokenize(equation)
    for longest in (5, 1):
        short = {n: mark for n, mark in marks.items() if len(unit_tokens(n)) <= longest}
        shorter = _replace(tokens, short)
        if equal(unmask_numbers(shorter, numbers), equation):
            return masked, shorter, numbers
    return masked, "".join(tokens), numbers


def unmask_numbers(equation: str, numbers: list[str]) -> str:
    """Puts the numbers back: the inverse of `mask_numbers`, up to brackets.

    Raises:
        EquationError: the equation has a mark that belongs to no number, or one next to another
            number, with no operator between them.

    Example:

    >>> unmask_numbers("①*②", ["120", "25%"])
    '120*(25/100)'
    """
    if touching := _TOUCHING.search(equation):
        raise EquationError(f"`equation` has {touching.group()}, without an operator.")
    for i, mark in enumerate(MARKS):
        if mark in equation:
            if i >= len(numbers):
                raise EquationError(f"`equation` has {mark}, but `numbers` are {len(numbers)}.")
            spelling = "".join(unit_tokens(numbers[i]))
            plain = len(unit_tokens(numbers[i])) == 1
            equation = equation.replace(mark, spelling if plain else f"({spelling})")
    return equation


def _replace(tokens, marks):
    """The tokens with marks, numbers of more tokens first."""
    tokens = list(tokens)
    for number in sorted(marks, key=lambda number: -len(unit_tokens(number))):
        spelling = unit_tokens(number)
        size = len(spelling)
        for i in range(len(tokens) - size + 1):
            if tokens[i : i + size] == spelling:
                tokens[i : i + size] = [marks[number]] + [""] * (size - 1)
    return "".join(tokens)
