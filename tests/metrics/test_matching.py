"""KgCLUE's exact match and F1."""

import random

import pytest

from kexue_keras.metrics import exact_match, f1


def test_f1_of_a_text_with_itself_is_one():
    for text in ("", "周杰伦", "Windows  XP", "a\u3000b"):
        assert f1(text, text) == 1.0
        assert exact_match(text, text)


def test_exact_match_never_exceeds_f1():
    rng = random.Random(0)
    for _ in range(500):
        a, b = ("".join(rng.choices("aAbB ", k=rng.randint(0, 4))) for _ in range(2))
        assert exact_match(a, b) <= f1(a, b) <= 1.0
        assert f1(a, b) == f1(b, a)


@pytest.mark.parametrize(
    "a, b, expected", [("abcd", "bd", 2 / 3), ("ab", "cd", 0.0), ("", "x", 0.0), ("AB", "a b", 0.8)]
)
def test_values(a, b, expected):
    assert f1(a, b) == pytest.approx(expected)


def test_case_and_white_space_do_not_count():
    assert exact_match(" UNIX \t System", "unix system")
    assert not exact_match("unixsystem", "unix system")


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="must be strings. Received: NoneType"):
        f1(None, "a")
