"""Code points, their values, and words."""

import numpy as np
import pytest

from kexue_keras.tokenizers import scanner as scanner_module
from kexue_keras.tokenizers.scanner import DROPPED, END_OF_TEXT, IN_WORD, Scanner

IDS = {"[UNK]": 0, "天": 1, "，": 2, "key": 3, "##s": 4, "é": 5, "e": 6}


def test_values_of_all_texts():
    scan = Scanner(IDS, True, 200).scan(["天Keys，龙", "", "é\u200b 3"])
    assert scan.characters == "天keys，龙\0\0e 3\0"
    word = [IN_WORD] * 4
    assert scan.values[:7].tolist() == [1, *word, 2, 0]
    assert scan.values[7:10].tolist() == [END_OF_TEXT, END_OF_TEXT, IN_WORD]
    assert scan.values[10] < 0 and scan.values[10] not in (IN_WORD, DROPPED, END_OF_TEXT)
    assert scan.starts.tolist() == [1, 9, 11] and scan.stops.tolist() == [5, 10, 12]


def test_pieces_of_words():
    scanner = Scanner(IDS, True, 3)
    assert scanner.pieces(scanner.scan(["key 天 keys", "e \ud800 é"])) == [[3], [0], [6], [0], [6]]
    cased = Scanner(IDS, False, 200)
    assert cased.pieces(cased.scan(["keys é e Key"])) == [[3, 4], [5], [6], [0]]
    assert scanner.pieces(scanner.scan([""])) == []


def test_an_end_of_text_inside_a_text_is_dropped():
    scan = Scanner(IDS, True, 200).scan(["天\0天", "天"])
    assert scan.values.tolist() == [1, 1, END_OF_TEXT, 1, END_OF_TEXT]
    assert scan.codes.dtype == np.uint32


@pytest.mark.parametrize(
    "character, value", [("\0", END_OF_TEXT), ("天", 1), ("龙", 0), ("x", IN_WORD)]
)
def test_values(character, value):
    assert Scanner(IDS, True, 200).value(ord(character)) == value


def test_accents_are_dropped_in_lower_case_only():
    assert Scanner(IDS, True, 200).value(0x301) == DROPPED
    assert Scanner(IDS, False, 200).value(0x301) == IN_WORD


def test_not_all_words_are_kept(monkeypatch):
    monkeypatch.setattr(scanner_module, "_MAX_CACHED_WORDS", 1)
    scanner = Scanner(IDS, True, 200)
    for text in ("key e", "keys", "s", "key keys e"):
        scan = scanner.scan([text])
        assert scanner.pieces(scan) == Scanner(IDS, True, 200).pieces(scan)
        assert len(scanner.known) <= 3
