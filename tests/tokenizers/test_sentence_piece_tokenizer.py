"""Pieces of SentencePiece between special tokens; tests/parity compares with bert4keras."""

import pytest
from sentence_piece_model import SENTENCES, write_model

from kexue_keras.tokenizers import SentencePieceTokenizer


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_model(
        tmp_path_factory.mktemp("pieces") / "spiece.model", user_defined_symbols=["[MASK]", "▂"]
    )


@pytest.fixture(scope="module")
def tokenizer(path):
    return SentencePieceTokenizer(path)


def test_round_trip_and_batch(tokenizer):
    for sentence in SENTENCES:
        ids, segments = tokenizer.encode(sentence)
        assert ids[-1] == 1 == tokenizer.end_id and not any(segments)
        assert tokenizer.tokens_to_ids(tokenizer.tokenize(sentence)) == ids
        if tokenizer.unk_id not in ids:
            assert tokenizer.decode(ids) == sentence.replace("，", ",")
    assert tokenizer.encode_batch(SENTENCES) == [tokenizer.encode(s) for s in SENTENCES]


def test_attributes(tokenizer, path):
    assert (tokenizer.pad_id, tokenizer.end_id, tokenizer.unk_id) == (0, 1, 2)
    assert tokenizer.start_id is None and tokenizer.id_to_token(tokenizer.mask_id) == "[MASK]"
    assert tokenizer.vocab_size == 60
    assert [i for i in range(60) if tokenizer.is_special(i)] == [0, 1, 2]
    without = write_model(path.with_name("without.model"), pad_id=-1, unk_id=0)
    other = SentencePieceTokenizer(without, token_end=None)
    assert other.pad_id is None and other.mask_id is None and other.end_id is None
    assert other.encode("dog")[0] == tokenizer_ids(other, "dog")


def tokenizer_ids(tokenizer, text):
    return [tokenizer.token_to_id(piece) for piece in tokenizer.tokenize(text)]


def test_ids_of_no_piece(tokenizer):
    assert tokenizer.token_to_id("not a piece") == tokenizer.unk_id
    # tables of embeddings are longer than vocabularies
    assert tokenizer.id_to_token(60) == "" and tokenizer.id_to_token(99) == ""
    ids = tokenizer.encode("a dog")[0]
    assert tokenizer.decode(ids) == "a dog"
    with pytest.raises(ValueError, match="`i` must not be negative. Received: -1"):
        tokenizer.id_to_token(-1)


def test_lone_surrogates_are_unknown(tokenizer):
    assert tokenizer.encode("a\ud800")[0] == tokenizer.encode("a\ufffd")[0]


def test_truncation(tokenizer):
    full = tokenizer.encode(SENTENCES[0])[0]
    assert tokenizer.encode(SENTENCES[0], maxlen=5)[0] == [*full[:4], 1]
    assert tokenizer.encode(SENTENCES[0], maxlen=5, truncate_from="left")[0] == full[-5:]
    ids, segments = tokenizer.encode(SENTENCES[0], SENTENCES[1], maxlen=8)
    assert len(ids) == 8 and segments == [0] * 4 + [1] * 4 and ids[3] == ids[7] == 1
    assert len(tokenizer.tokenize(SENTENCES[0], maxlen=4)) == 4


def test_words_first_and_pieces_in_place_of_others(path):
    """As CPM writes spaces."""
    tokenizer = SentencePieceTokenizer(
        path,
        token_end=None,
        pre_tokenize=lambda text: text.replace(" ", "▂").split("|"),
        token_translate={"▁": "[MASK]"},
    )
    plain = SentencePieceTokenizer(path, token_end=None)
    assert tokenizer.tokenize("a|▂dog") == [
        "[MASK]" if piece == "▁" else piece for piece in plain.tokenize("a ▂dog")
    ]
    assert "[MASK]" in tokenizer.tokenize("▂")
    assert tokenizer.encode("▂")[0] == tokenizer.tokens_to_ids(tokenizer.tokenize("▂"))
    ids = tokenizer.encode("a▂")[0]
    assert tokenizer.decode(ids) == plain.decode(plain.encode("a▂")[0])


@pytest.mark.parametrize("name", ["token_start", "token_end"])
def test_special_tokens_must_be_pieces(path, name):
    with pytest.raises(ValueError, match=rf"`{name}` must be a piece of .*Received: '\[CLS\]'"):
        SentencePieceTokenizer(path, **{name: "[CLS]"})
