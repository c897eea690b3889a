"""SentencePiece models opened, and what is said where they cannot be."""

import sys

import pytest
from sentence_piece_model import write_model

from kexue_keras.tokenizers import load_vocab
from kexue_keras.tokenizers.sentence_piece import open_sentence_piece


def test_a_file_or_its_folder(tmp_path):
    path = write_model(tmp_path / "spiece.model")
    for place in (path, tmp_path, str(path)):
        assert open_sentence_piece(place).get_piece_size() == 60
    assert list(load_vocab(path))[:3] == ["<pad>", "</s>", "<unk>"] and len(load_vocab(path)) == 60
    with pytest.raises(ValueError, match="`simplified` must be False for SentencePiece"):
        load_vocab(path, simplified=True)


def test_what_is_no_model(tmp_path):
    with pytest.raises(ValueError, match=r"`path` .*spiece.model cannot be read: No such file"):
        open_sentence_piece(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"no model")
    with pytest.raises(ValueError, match="spiece.model is no SentencePiece model"):
        open_sentence_piece(tmp_path)


def test_the_package_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ImportError, match=r"pip install 'kexue_keras\[sentencepiece\]'"):
        open_sentence_piece(tmp_path)
