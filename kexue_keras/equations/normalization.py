"""Math word problems in the form that a model is trained on, and the numbers in them.

No deep-learning framework is imported.

Reference: https://kexue.fm/archives/7809
"""

import re

from kexue_keras.equations.arithmetic import TOKEN, equal, strip_brackets

_MIXED_FRACTION = re.compile(r"(?<![0-9.])([0-9]+)\(([0-9]+/[0-9]+)\)")
_PLAIN_FRACTION = re.compile(r"\(([0-9]+/[0-9]+)\)")
_PERCENT = re.compile(r"(?<![0-9.])([0-9.]+)%")

# other signs for the same: brackets of other kinds, multiplication, division, minus, and the
# full-width forms of all characters of ASCII
_SIGNS = {"[": "(", "{": "(", "]": ")", "}": ")", "×": "*", "✕": "*", "÷": "/", "−": "-", "–": "-"}
_SIGNS |= {"【": "(", "〔": "(", "】": ")", "〕": ")", "^": "**", "∶": ":"}
_FULL_WIDTH = {chr(0xFEE0 + code): chr(code) for code in range(0x21, 0x7F)}
_SIGNS = str.maketrans(_SIGNS | {c: _SIGNS.get(plain, plain) for c, plain in _FULL_WIDTH.items()})
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")

# A number of a normalised question is one unit, whatever its form: (1+1/2), 1/2, 50%, 50, 0.5
UNIT = re.compile(
    r"(?<![0-9A-Za-z./])(?:\([0-9]+\+[0-9]+/[0-9]+\)|[0-9]+/[0-9]+|[0-9]+(?:\.[0-9]+)?%?)"
    r"(?![0-9./%])"
)


def normalize(question: str, equation: str, answer: str) -> tuple[str, str, str] | None:
    """Brings a raw ape210k or Math23K problem into the form a model is trained on.

    Equation and answer may be written with other signs: `[]`, `{}`, `^`, `×`, `÷`, full-width
    characters, blanks, commas in front of thousands. Then, in this order: mixed fractions `a(b/c)`
    become `(a+b/c)`, and another bracket right after a digit is an addition; plain fractions in the
    question lose their brackets; `a%` becomes `(a/100)` in equation and answer; `:` becomes `/` and
    a leading `x=` or `X=` goes; the sample is kept only if equation and answer agree to six
    decimals; redundant brackets of the equation go.

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
    equation, answer = (_arithmetic(_plain(text)) for text in (equation, answer))
    return (question, strip_brackets(equation), answer) if equal(equation, answer) else None


def _plain(text: str) -> str:
    """The text with one sign for each thing, without blanks and a leading `x=`."""
    text = _THOUSANDS.sub("", "".join(text.translate(_SIGNS).split()))
    return re.sub("^[xX]=", "", text)


def _arithmetic(text: str) -> str:
    text = re.sub(r"(?<=[0-9])\(", "+(", _MIXED_FRACTION.sub(r"(\1+\2)", text))
    return _PERCENT.sub(r"(\1/100)", text).replace(":", "/").replace("%", "/100")


def unit_tokens(unit: str) -> list[str]:
    """The tokens of a unit in an equation, brackets aside.

    Example:

    >>> unit_tokens("25%"), unit_tokens("(1+1/2)")
    (['25', '/', '100'], ['1', '+', '1', '/', '2'])
    """
    return TOKEN.findall(unit.strip("()").replace("%", "/100"))
