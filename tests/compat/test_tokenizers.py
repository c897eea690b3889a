"""bert4keras's tokenizer: its attributes, its default case, its patterns."""

import pytest

from kexue_keras.compat.tokenizers import SpTokenizer, Tokenizer, load_vocab, save_vocab

pytestmark = pytest.mark.once

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天", "地", "人", "key", "Key"]
VOCABULARY = {token: i for i, token in enumerate(TOKENS)}


def test_attributes_and_case():
    tokenizer = Tokenizer(VOCABULARY)
    ids = ("pad", "unk", "start", "end", "mask")
    assert [getattr(tokenizer, f"_token_{name}_id") for name in ids] == [0, 1, 2, 3, 4]
    assert tokenizer._vocab_size == 10 and tokenizer._token_dict is VOCABULARY
    assert tokenizer._token_end == "[SEP]"
    assert tokenizer.encode("Key")[0] == [2, 9, 3]
    assert Tokenizer(VOCABULARY, do_lower_case=True).encode("Key")[0] == [2, 8, 3]


def test_patterns_and_truncation():
    tokenizer = Tokenizer(VOCABULARY)
    assert tokenizer.encode("天地", "人") == ([2, 5, 6, 3, 7, 3], [0, 0, 0, 0, 1, 1])
    whole = tokenizer.encode("天地", "人", pattern="S*ES*E")
    assert whole == ([2, 5, 6, 3, 2, 7, 3], [0, 0, 0, 0, 1, 1, 1])
    assert tokenizer.encode("天地人", maxlen=4)[0] == [2, 5, 6, 3]
    assert tokenizer.encode("天地人", maxlen=4, truncate_from="left")[0] == [2, 6, 7, 3]
    assert tokenizer.encode("天地人", maxlen=4, truncate_from=2)[0] == [2, 5, 7, 3]
    assert tokenizer.encode("天地人", maxlen=4, pattern="S*ES*E")[0] == [2, 5, 6, 3]
    assert tokenizer.encode(["[CLS]", "天"])[0] == [2, 5]


def test_a_vocabulary_without_special_tokens():
    tokenizer = Tokenizer({"[PAD]": 0, "a": 1, "b": 2})
    tokenizer._token_unk_id = 0
    assert tokenizer.encode("a b c")[0] == [0, 1, 2, 0, 0]
    assert tokenizer.token_to_id("c") == 0 and tokenizer._vocab_size == 3


def test_vocabularies(tmp_path):
    path = str(tmp_path / "vocab.txt")
    save_vocab(path, VOCABULARY)
    assert load_vocab(path) == VOCABULARY
    simple, kept = load_vocab(path, simplified=True, startswith=["[PAD]", "[UNK]"])
    assert len(simple) == len(kept)
    assert Tokenizer(path).encode("天")[0] == [2, 5, 3]
    with pytest.raises(ValueError, match="`encoding` must be \"utf-8\". Received: 'gbk'"):
        load_vocab(path, encoding="gbk")


def test_no_special_tokens_and_words_first():
    tokenizer = Tokenizer(VOCABULARY, token_start=None, token_end=None)
    assert tokenizer.encode("天地", "人") == ([5, 6, 7], [0, 0, 1])
    assert tokenizer.encode("天地人", maxlen=2, truncate_from=-1)[0] == [5, 6]
    assert not hasattr(tokenizer, "_token_start_id")
    words = {**VOCABULARY, "天地": 10}
    tokenizer = Tokenizer(words, pre_tokenize=lambda text: [text[:2], text[2:]])
    assert tokenizer.encode("天地人")[0] == [2, 10, 7, 3]
    with pytest.raises(ValueError, match="`token_translate` must be None here. Received: {"):
        Tokenizer(VOCABULARY, token_translate={"a": "b"})


def test_sentence_pieces(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    path = tmp_path / "spiece.model"
    with open(path, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["ab ba abba", "abab b a"] * 9),
            model_writer=file,
            vocab_size=8,
            model_type="char",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
    tokenizer = SpTokenizer(str(path), token_start=None, token_end="</s>")
    ids, segments = tokenizer.encode("ab", maxlen=5)
    assert ids[-1] == tokenizer._token_end_id == 1 and set(segments) == {0}
    assert (tokenizer._token_pad_id, tokenizer._token_unk_id) == (0, 2)
    assert tokenizer._vocab_size == tokenizer.vocab_size > 3 and tokenizer.decode(ids) == "ab"
