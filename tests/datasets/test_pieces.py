"""Pieces of passages that hold the answers of their questions."""

import pytest

from kexue_keras.datasets import LeftOutWarning
from kexue_keras.datasets.pieces import piece_with_answer, with_pieces

pytestmark = pytest.mark.once


def test_pieces_hold_their_answers():
    question = {
        "passage": "一二三四五。六七八九十。",
        "question": "七八？",
        "answers": ["九", "三"],
    }
    assert piece_with_answer(question, 10) == ("六七八九十。", "九")
    other = question | {"question": "二三四？七八"}
    assert piece_with_answer(other, 10) == ("一二三四五。", "三")
    assert piece_with_answer(question | {"answers": ["五。六"]}, 10) is None


def test_questions_with_their_pieces():
    question = {
        "passage": "一二三四五。六七八九十。",
        "question": "七八？",
        "answers": ["九", "三"],
    }
    assert with_pieces([question], 10) == [("六七八九十。", "九", "七八？")]
    other = question | {"question": "二三四？七八"}
    assert with_pieces([question, other], 10)[1] == ("一二三四五。", "三", "二三四？七八")
    with pytest.warns(LeftOutWarning, match="1 of 2 questions left out: no piece of at most 10"):
        assert len(with_pieces([question, question | {"answers": ["五。六"]}], 10)) == 1
