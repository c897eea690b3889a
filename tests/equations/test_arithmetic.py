"""Bounded arithmetic, normalisation and augmentation of math word problems."""

import ast
import json
import lzma
import operator
import random
import re
import subprocess
import sys
import time
from fractions import Fraction

import pytest

from kexue_keras.equations import (
    EquationError,
    equal,
    evaluate,
    normalize,
    resample_numbers,
    strip_brackets,
)

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


def milliseconds(function, argument):
    """Shortest of three measured times, and what was raised."""
    times, error = [], None
    for _ in range(3):
        start = time.perf_counter()
        try:
            function(argument)
        except EquationError as raised:
            error = raised
        times.append(time.perf_counter() - start)
    return min(times) * 1000, error


def read(path):
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def normalized(path):
    rows = read(path)
    found = [normalize(row["original_text"], row["equation"], row["ans"]) for row in rows]
    return rows, found


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
        elapsed, error = milliseconds(evaluate, HOSTILE[index])
        assert isinstance(error, EquationError)
        assert elapsed < 50
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
        assert milliseconds(evaluate, slow)[0] < 50
        assert milliseconds(evaluate, "2**512*" * 3 + "1" + "*1/1" * 240)[0] < 50

    def test_needs_no_deep_learning_framework(self):
        program = (
            "import sys, kexue_keras.equations\n"
            "sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow', 'jax', 'numpy')))"
        )
        subprocess.run([sys.executable, "-c", program], check=True)


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


class TestNormalize:
    @pytest.mark.parametrize(
        "sample, expected",
        [
            (("有1(1/2)米", "x=1(1/2)", "1(1/2)"), ("有(1+1/2)米", "1+1/2", "(1+1/2)")),
            (("q", "2(3+4)", "2((2)+(5))"), ("q", "2+3+4", "2+((2)+(5))")),
            (("吃了(3/4)和(1/4)", "(3/4)", "3/4"), ("吃了3/4和1/4", "3/4", "3/4")),
            (("(1+2)/3", "(1+2)/3", "1"), ("(1+2)/3", "(1+2)/3", "1")),
            (("打80%", "x=100*80%", "80"), ("打80%", "100*80/100", "80")),
            (("q", "5/50%", "10"), ("q", "5/(50/100)", "10")),
            (("q", "(1+2)%", "3%"), ("q", "(1+2)/100", "(3/100)")),
            (("甲3：2", "x=3:2", "1.5"), ("甲3：2", "3/2", "1.5")),
            (("q", "12.5%", "0.125"), ("q", "12.5/100", "0.125")),
            (("q", "((1+2))", "3.0000001"), ("q", "1+2", "3.0000001")),
            (("q", "1(1/2)*2(1/2)", "3.75"), ("q", "(1+1/2)*(2+1/2)", "3.75")),
        ],
    )
    def test_steps(self, sample, expected):
        assert normalize(*sample) == expected

    @pytest.mark.parametrize(
        "sample",
        [
            ("q", "x=1+1", "3"),
            ("q", "x=1/0", "1/0"),
            ("q", "x=[1+1]", "2"),
            ("q", "x=__import__('os')", "1"),
            ("q", "x=9**9**9", "9**9**9"),
            ("q", "", ""),
            ("q", "x=x=1", "1"),
            (None, "1", "1"),
            ("q", 1, "1"),
            ("q", "1", None),
        ],
    )
    def test_inconsistent_samples_are_dropped(self, sample):
        assert normalize(*sample) is None

    @pytest.mark.parametrize("text", ["1" * 10**5, "1(" * 10**5, "(1/" * 10**5, "1%" * 10**5])
    def test_long_texts_take_linear_time(self, text):
        assert milliseconds(lambda t: normalize(t, t, t), text)[0] < 500

    def test_published_number_of_samples(self, shared):
        rows, found = normalized(shared / "data/math/ape210k_valid.jsonl.xz")
        kept = [sample for sample in found if sample]
        assert len(rows) == 5000
        assert len(kept) == 4999
        for _, equation, answer in kept:
            assert equal(evaluate(equation), answer)
            assert strip_brackets(equation) == equation

    def test_math23k(self, shared):
        rows, found = normalized(shared / "data/math/math23k_train.jsonl.xz")
        assert len(rows) == 16_809
        assert sum(sample is not None for sample in found) == 16_802


class TestResampleNumbers:
    NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")

    def check(self, old, new):
        """Question and equation changed in the numbers only, consistently, and the answer fits."""
        (question, equation, _), (new_question, new_equation, new_answer) = old, new
        assert evaluate(new_equation) == evaluate(new_answer)
        value, new_value = evaluate(equation), evaluate(new_equation)
        assert (value > 0) == (new_value > 0)
        assert value.denominator > 1 or new_value.denominator == 1
        for before, after in ((question, new_question), (equation, new_equation)):
            assert self.NUMBER.sub("#", before) == self.NUMBER.sub("#", after)
            for a, b in zip(self.NUMBER.findall(before), self.NUMBER.findall(after), strict=True):
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
    def test_new_problem_is_consistent(self, question, equation):
        old = (question, equation, str(evaluate(equation)))
        rng, seen = random.Random(0), set()
        for _ in range(50):
            new = resample_numbers(*old, rng)
            if new:
                self.check(old, new)
                seen.add(new)
        assert len(seen) > 5

    def test_constants_years_and_parts_of_words_stay(self):
        question = "2008年A4纸每包100张，1天用17张，圆周率3.14"
        question, equation, _ = resample_numbers(
            question, "2008+4+100*1+17*3.14*3.14", "2279.5972", random.Random(0)
        )
        assert re.fullmatch(r"2008年A4纸每包100张，1天用[0-9]{2}张，圆周率3\.14", question)
        assert re.fullmatch(r"2008\+4\+100\*1\+[0-9]{2}\*3\.14\*3\.14", equation)

    def test_numbers_are_matched_whole(self):
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
    def test_ambiguous_is_left_alone(self, question, equation):
        answer = str(evaluate(equation))
        assert resample_numbers(question, equation, answer, random.Random(0)) is None

    def test_same_seed_same_problem(self):
        problem = ("有35个苹果，吃了12个", "35-12", "23")
        first = resample_numbers(*problem, random.Random(4))
        assert first == resample_numbers(*problem, random.Random(4))

    def test_answers_are_exact(self):
        rng = random.Random(5)
        answers = [resample_numbers("35元分给8人", "35/8", "4.375", rng)[2] for _ in range(30)]
        assert all(re.fullmatch(r"[0-9]+(\.[0-9]*[1-9])?", answer) for answer in answers)

    def test_real_problems(self, shared):
        _, found = normalized(shared / "data/math/ape210k_valid.jsonl.xz")
        rng, changed = random.Random(0), 0
        start = time.process_time()
        kept = [sample for sample in found if sample]
        new = [resample_numbers(*sample, rng) for sample in kept]
        elapsed = time.process_time() - start
        for old, resampled in zip(kept, new, strict=True):
            if resampled:
                changed += 1
                assert evaluate(resampled[1]) == evaluate(resampled[2])
                assert self.NUMBER.sub("#", old[0]) == self.NUMBER.sub("#", resampled[0])
                assert self.NUMBER.sub("#", old[1]) == self.NUMBER.sub("#", resampled[1])
        assert changed > 0.8 * len(kept)
        assert elapsed / len(kept) < 0.002
