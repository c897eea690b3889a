"""Bounded arithmetic."""

import ast
import operator
import random
import re
import sys
from fractions import Fraction

import pytest

from kexue_keras.equations import EquationError, equal, evaluate, strip_brackets
from kexue_keras.equations.arithmetic import MAX_BITS

# fmt: off
HOSTILE = [
    "9**9**9", "9**9**9**9", "9**99999999999999999999", "2**-99999999999", "(9**500)**500",
    "*".join(["9**500"] * 100), "+".join(f"1/{n}**99" for n in range(3, 120)), "__import__('os')",
    "__import__('os').system('true')", "().__class__.__bases__", "open('/etc/passwd')",
    "(" * 10**5 + "1" + ")" * 10**5, "(" * 400 + "1" + ")" * 400, "(" * 10**5, ")" * 10**5,
    "1" * 10**5, "1+" * 50_000 + "1", "-" * 10**5 + "1", "1." + "1" * 990, "9" * 900, "[" * 10**5,
    "\uff11+\uff12", "\u0661+\u0662", "\u00b2", "1\u00d72", "\uff081\uff09", "1/0", "1/(2-2)",
    "0**-1", "(1-1)**(0-3)", "1.5.real", "(1).real", "nan", "inf", "-inf", "NaN", "1e999999",
    "1e3", "1E5", "3j", "0x10", "0o7", "0b1", "1_000", "True", "None", "x", "x=3", "(y:=3)",
    "lambda: 0", "f'{9**9}'", "'1'", '"1"+"2"', "[i for i in (1,2)]", "1\x00", "\x00", "1\t+2",
    "1+\n2", "1\r", "1\u00a0+2", "1 # two", "007", "00", "01.5", "1+02", "", " ", "()", "( )",
    "1()", "(1,2)", "1,", "1,000", "1//2", "1%2", "1<<9", "1 if 1 else 2", "1==1", "1<2", "1|2",
    "1&2", "1^2", "~1", "1@2", "not 1", "1 2", "1 .5", "1..2", "1.2.3", ".", "-.", "1+", "*1",
    "1**", "1* *2", "1***2", "1/ /2", "(1", "1)", ")1(", "(1)(2)", "2(3)", "(2)3", "4**0.5",
    "4**(1/2)", "2**1.5", "\ud800", "1+\udfff", "1;2", "[1]", "{1}", "\\", None, b"1+1", 3, 1.5,
    ["1"],
]
# fmt: on

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def reference(expression):
    """The value by Python's own grammar: a walk over its syntax tree with exact rationals."""

    def visit(node):
        if isinstance(node, ast.Constant):
            return Fraction(ast.get_source_segment(expression, node))
        if isinstance(node, ast.UnaryOp):
            return OPERATORS[type(node.op)](visit(node.operand))
        left, right = visit(node.left), visit(node.right)
        if isinstance(node.op, ast.Pow):
            if right.denominator != 1 or abs(right) > 64:
                raise ArithmeticError("exponent")
            right = int(right)
        return OPERATORS[type(node.op)](left, right)

    return visit(ast.parse(expression, mode="eval").body)


def random_expression(rng, depth=0):
    kind = rng.random()
    if depth > 4 or kind < 0.25:
        return rng.choice([str(rng.randrange(20)), f"{rng.randrange(9)}.{rng.randrange(100):02d}"])
    inner = random_expression(rng, depth + 1)
    if kind < 0.4:
        return f"({inner})"
    if kind < 0.55:
        return rng.choice("+-") + inner
    symbol = rng.choice(["+", "-", "*", "/", "**", " + ", " ** ", "* "])
    return inner + symbol + random_expression(rng, depth + 1)


def random_valid_expressions(count, seed):
    rng, found = random.Random(seed), []
    while len(found) < count:
        expression = random_expression(rng)
        try:
            value = reference(expression)
        except ArithmeticError:
            continue
        if max(abs(value.numerator), value.denominator) < 10**60:
            found.append((expression, value))
    return found


def work_of(function, argument):
    """Lines that were run, bits of the largest integer that was held, and what was raised."""
    lines, bits, error = 0, 0, None

    def count(frame, event, _):
        nonlocal lines, bits
        lines += 1
        for value in frame.f_locals.values():
            for number in value if type(value) is tuple else (value,):
                if type(number) is int:
                    bits = max(bits, number.bit_length())
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        function(argument)
    except EquationError as raised:
        error = raised
    finally:
        sys.settrace(before)
    return lines, bits, error


class TestEvaluate:
    @pytest.mark.parametrize(
        "expression, value",
        [
            ("1+2*3", Fraction(7)),
            ("-2**2", Fraction(-4)),
            ("(-2)**2", Fraction(4)),
            ("2**-1", Fraction(1, 2)),
            ("2**-2**2", Fraction(1, 16)),
            ("2**3**2", Fraction(512)),
            ("(-2)**-3", Fraction(-1, 8)),
            ("2**(4/2)", Fraction(4)),
            ("0**0", Fraction(1)),
            ("3.14*2**2", Fraction(1256, 100)),
            ("0.1+0.2", Fraction(3, 10)),
            (".5", Fraction(1, 2)),
            ("5.", Fraction(5)),
            ("--1", Fraction(1)),
            ("1--+-1", Fraction(0)),
            ("7/2/2", Fraction(7, 4)),
            ("1-2-3", Fraction(-4)),
            ("6/-4", Fraction(-3, 2)),
            (" 1 + 2 ", Fraction(3)),
            ("2**512", Fraction(2**512)),
            ("(" * 100 + "1" + ")" * 100, Fraction(1)),
            ("1+" * 499 + "1", Fraction(500)),
        ],
    )
    def test_value(self, expression, value):
        result = evaluate(expression)
        assert type(result) is Fraction
        assert result == value

    def test_agrees_with_python_grammar(self):
        for expression, value in random_valid_expressions(3000, seed=0):
            assert evaluate(expression) == value, expression

    @pytest.mark.parametrize("index", range(len(HOSTILE)))
    def test_hostile_is_refused_at_once(self, index):
        lines, bits, error = work_of(evaluate, HOSTILE[index])
        assert isinstance(error, EquationError)
        assert lines < 50_000
        assert bits <= 2 * MAX_BITS
        assert len(str(error)) < 500

    def test_random_junk_raises_nothing_else(self):
        rng = random.Random(1)
        alphabet = "0123456789.+-*/() **()=x%:,e_\t\n\x00年\uff11\ud800"
        for _ in range(5000):
            junk = "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 40)))
            try:
                assert type(evaluate(junk)) is Fraction
            except EquationError:
                assert not equal(junk, junk)

    def test_slowest_accepted_text(self):
        slow = "+".join(f"1/{n}**9" for n in range(11, 60))
        for text in (slow, "2**512*" * 3 + "1" + "*1/1" * 240):
            lines, bits, error = work_of(evaluate, text)
            assert error is None
            assert lines < 50_000
            assert bits <= 2 * MAX_BITS


class TestEqual:
    @pytest.mark.parametrize(
        "a, b, expected",
        [
            ("1/3", "0.333333", True),
            ("1/3", "0.33333", False),
            ("0.0000004", "0", True),
            ("0.0000006", "0", False),
            (Fraction(1, 2), "0.5", True),
            (3, "9/3", True),
            (0.25, "1/4", True),
            (float("nan"), "1", False),
            (True, 1, False),
            ("", "", False),
            ("1/0", "1/0", False),
            (None, None, False),
            (b"1", "1", False),
            ("9**9**9", "1", False),
        ],
    )
    def test_six_decimals(self, a, b, expected):
        assert equal(a, b) is expected
        assert equal(b, a) is expected


class TestStripBrackets:
    @pytest.mark.parametrize(
        "expression, expected",
        [
            ("(1+2)*3", "(1+2)*3"),
            ("((1+2))*3", "(1+2)*3"),
            ("(1*2)+3", "1*2+3"),
            ("20-20*(1/4)-(1/4)", "20-20*1/4-1/4"),
            ("20/(1/4)", "20/(1/4)"),
            ("((45*24)/18)", "45*24/18"),
            ("1 + (2 + 3)", "1+2+3"),
            ("1-(2-3)", "1-(2-3)"),
            ("(-2)**2", "(-2)**2"),
            ("(2**3)**2", "(2**3)**2"),
            ("(((7)))", "7"),
            ("(2-1)/1", "2-1/1"),
        ],
    )
    def test_examples(self, expression, expected):
        assert strip_brackets(expression) == expected

    def test_keeps_value_and_is_stable_and_minimal(self):
        for expression, value in random_valid_expressions(800, seed=2):
            stripped = strip_brackets(expression)
            assert evaluate(stripped) == value
            assert strip_brackets(stripped) == stripped
            assert stripped.count("(") <= expression.count("(")
            assert stripped.count("(") == stripped.count(")")
            assert re.sub("[() ]", "", stripped) == re.sub("[() ]", "", expression)

    def test_refuses_what_is_no_arithmetic(self):
        with pytest.raises(ValueError, match="must be arithmetic"):
            strip_brackets("(x)")
