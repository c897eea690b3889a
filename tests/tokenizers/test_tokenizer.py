"""The tokenizer, on a small vocabulary of its own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue_keras.tokenizers import Tokenizer, load_vocab, text_tokenizer

TOKENS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] 今 天 气 很 好 ， 。 ! [ ] mask key ##s un ##able able e "
    "##c 3 . ##5 5 ς ##ς a ##σ + ( ' t don"
).split()
IDS = {token: i for i, token in enumerate(TOKENS)}


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(IDS)


def ids(*tokens):
    return [IDS[token] for token in ("[CLS]", *tokens, "[SEP]")]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", ()),
        (" \n\t\u3000\u2028", ()),
        ("今天，Keys好", ("今", "天", "，", "key", "##s", "好")),
        ("UNABLE", ("un", "##able")),
        ("é\u0301", ("e",)),
        ("ec", ("e", "##c")),
        ("e\x00c\u200b\ufffd\x85", ("e", "##c")),
        ("e\u2028c", ("e", "[UNK]")),
        ("3.5", ("3", ".", "5")),
        ("AΣ σ", ("a", "##ς", "[UNK]")),
        ("[MASK]", ("[", "mask", "]")),
        ("天unknown气", ("天", "[UNK]", "气")),
        ("龙", ("[UNK]",)),
        ("\ud800", ("[UNK]",)),
        ("今" * 3 + "\ud800" + "天", ("今", "今", "今", "[UNK]", "天")),
    ],
)
def test_encode(tokenizer, text, tokens):
    assert tokenizer.encode(text) == (ids(*tokens), [0] * (len(tokens) + 2))


def test_cased_keeps_case_and_accents():
    cased = Tokenizer({**IDS, "é": len(IDS)}, do_lower_case=False)
    assert cased.encode("é Key")[0] == [2, len(IDS), 1, 3]
    assert cased.tokenize("é Key") == ["[CLS]", "é", "Key", "[SEP]"]


def test_greatest_word_length():
    tokenizer = Tokenizer({**IDS, "##a": len(IDS)}, word_maxlen=4)
    assert tokenizer.tokenize("aaaa aaaaa")[1:-1] == ["a", "##a", "##a", "##a", "aaaaa"]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("first", range(0, 9))
@pytest.mark.parametrize("second", [None, *range(0, 9)])
def test_truncation_equals_popping_one_by_one(tokenizer, first, second, side):
    position = -2 if side == "right" else 1
    for maxlen in range(2 if second is None else 3, 20):
        rows = [["[CLS]", *TOKENS[5 : 5 + first], "[SEP]"]]
        if second is not None:
            rows.append(["[CLS]", *TOKENS[15 : 15 + second], "[SEP]"])
        given = [list(row) for row in rows]
        while sum(map(len, rows)) > maxlen + len(rows) - 1:
            max(rows, key=len).pop(position)
        expected = [rows[0], *(row[1:] for row in rows[1:])]
        token_ids, segment_ids = tokenizer.encode(*given, maxlen=maxlen, truncate_from=side)
        assert tokenizer.ids_to_tokens(token_ids) == [token for row in expected for token in row]
        assert segment_ids == [i for i, row in enumerate(expected) for _ in row]
        assert len(token_ids) <= maxlen


def test_tokenize_truncates(tokenizer):
    assert tokenizer.tokenize("今天好", maxlen=4) == ["[CLS]", "今", "天", "[SEP]"]
    assert tokenizer.tokenize("今天好", maxlen=2) == ["[CLS]", "[SEP]"]


@settings(deadline=None)
@given(
    st.lists(st.text(st.sampled_from("今天，。key sun ab3.5[]é\0\x85\u2028Σ\ud800")), max_size=8)
)
def test_batch_equals_single(texts):
    tokenizer = Tokenizer(IDS)
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]
    pairs = tokenizer.encode_batch(texts, texts[::-1], maxlen=7)
    singles = [tokenizer.encode(a, b, maxlen=7) for a, b in zip(texts, texts[::-1], strict=True)]
    assert pairs == singles
    for text, (token_ids, _) in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert tokenizer.tokens_to_ids(tokenizer.tokenize(text)) == token_ids


def test_more_texts_than_one_chunk(tokenizer, monkeypatch):
    texts = ["今天", "keys", "", "好。unable"] * 5
    whole = tokenizer.encode_batch(texts)
    monkeypatch.setattr(text_tokenizer, "_CHUNK", 3)
    assert Tokenizer(IDS).encode_batch(texts) == whole


def test_lists_of_tokens_in_a_batch(tokenizer):
    prompt = ["[CLS]", "[MASK]", "好", "龙", "[SEP]"]
    encoded = tokenizer.encode_batch(["今", prompt, "天"])
    assert [row for row, _ in encoded] == [ids("今"), [2, 4, 9, 1, 3], ids("天")]
    assert prompt == ["[CLS]", "[MASK]", "好", "龙", "[SEP]"]
    assert tokenizer.encode_batch([]) == []


def test_ids_need_not_start_at_zero():
    tokenizer = Tokenizer({token: 7 * i + 3 for token, i in IDS.items()})
    assert tokenizer.encode("今keys")[0] == [17, 38, 115, 122, 24]


def test_decode(tokenizer):
    token_ids = ids("今", "天", "，", "key", "##s", "好")
    assert tokenizer.decode(token_ids) == "今天，keys好"
    assert tokenizer.decode([], ["3", ".", "5"]) == "3.5"


def test_rematch(tokenizer):
    text = "İ 今e\u0301\x00C[!Keys"
    tokens = tokenizer.tokenize(text)
    assert tokens == ["[CLS]", "i", "今", "e", "##c", "[", "!", "key", "##s", "[SEP]"]
    offsets = [[], [0], [2], [3], [6], [7], [8], [9, 10, 11], [12], []]
    assert tokenizer.rematch(text, tokens) == offsets
    assert tokenizer.rematch("AΣ", tokenizer.tokenize("AΣ")) == [[], [0], [1], []]


def test_attributes(tokenizer):
    names = ("pad_id", "unk_id", "start_id", "end_id", "mask_id")
    assert [getattr(tokenizer, name) for name in names] == [0, 1, 2, 3, 4]
    assert tokenizer.vocab_size == len(TOKENS)
    assert Tokenizer({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}).mask_id is None
    assert tokenizer.token_to_id("龙") == tokenizer.unk_id


def test_path(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(TOKENS), encoding="utf-8")
    assert Tokenizer(path).token_dict == Tokenizer(str(path)).token_dict == load_vocab(path) == IDS


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: Tokenizer({"[UNK]": 0, "[SEP]": 1}), r"`token_dict`.*no \[CLS\]"),
        (lambda t: Tokenizer(IDS, word_maxlen=0), "`word_maxlen` must be positive. Received: 0"),
        (lambda t: t.encode("今", maxlen=1), "`maxlen` must be at least 2. Received: 1"),
        (lambda t: t.encode("今", "天", maxlen=2), "`maxlen` must be at least 3. Received: 2"),
        (lambda t: t.encode("今", truncate_from="top"), "`truncate_from`.*Received: 'top'"),
        (lambda t: t.encode_batch(["今"], []), "`seconds` must be as many.*Received: 1 and 0"),
        (lambda t: t.tokenize("今", maxlen=1), "`maxlen` must be at least 2. Received: 1"),
        (lambda t: t.id_to_token(999), "`i` must be an id.*Received: 999"),
        (lambda t: t.rematch("今天", ["天", "今"]), "`tokens` must come from `text`.*'今'"),
    ],
)
def test_bad_values(tokenizer, call, message):
    with pytest.raises(ValueError, match=message):
        call(tokenizer)


def test_bad_types(tokenizer):
    with pytest.raises(TypeError, match="`token_dict`.*Received: list"):
        Tokenizer(TOKENS)
    with pytest.raises(TypeError, match="lists of texts"):
        tokenizer.encode_batch("今天")


@pytest.mark.parametrize("start", ["[CLS]", None, "[MASK]"])
@pytest.mark.parametrize("end", ["[SEP]", None, "[MASK]"])
def test_special_tokens_may_be_others_or_none(tokenizer, start, end):
    other = Tokenizer(IDS, token_start=start, token_end=end)
    before, after = [x for x in (start,) if x], [x for x in (end,) if x]
    for text in ("今天，Keys好", "", "天 unknown"):
        inner = tokenizer.tokenize(text)[1:-1]
        assert other.tokenize(text) == [*before, *inner, *after]
        ids = tokenizer.tokens_to_ids(inner)
        expected = [*map(IDS.get, before), *ids, *map(IDS.get, after)]
        assert other.encode_batch([text, "好"])[0] == (expected, [0] * len(expected))
        again = [*map(IDS.get, before), *ids, *map(IDS.get, after), *ids, *map(IDS.get, after)]
        assert other.encode(text, text)[0] == again
    assert other.start_id == IDS.get(start) and other.end_id == IDS.get(end)


def test_special_tokens_must_be_in_the_vocabulary():
    Tokenizer({"[UNK]": 0}, token_start=None, token_end=None)
    with pytest.raises(ValueError, match=r"have \[UNK\] and <s>. Received: no \[UNK\], <s>"):
        Tokenizer({"a": 0}, token_start="<s>", token_end=None)
    with pytest.raises(ValueError, match=r"must have \[UNK\]. Received: none"):
        Tokenizer({"a": 0}, token_start=None, token_end=None)


def pairs_of_characters(text):
    """In place of `jieba.lcut`."""
    return [text[i : i + 2] for i in range(0, len(text), 2)]


def test_words_of_the_vocabulary_are_one_token_each():
    words = {**IDS, "今天": len(IDS), "天气": len(IDS) + 1, "key": len(IDS) + 2}
    tokenizer = Tokenizer(words, pre_tokenize=pairs_of_characters)
    assert tokenizer.tokenize("今天天气很好") == ["[CLS]", "今天", "天气", "很", "好", "[SEP]"]
    # the words are those of the text in lower case without accents
    seen = []
    Tokenizer(words, pre_tokenize=lambda text: seen.append(text) or [text]).encode("ÉA今天")
    assert seen == ["ea今天"]
    seen.clear()
    Tokenizer(words, False, pre_tokenize=lambda text: seen.append(text) or [text]).encode("ÉA")
    assert seen == ["ÉA"]
    ids = [words[token] for token in ("[CLS]", "今天", "天", "[SEP]")]
    assert tokenizer.encode("今天天")[0] == ids
    assert tokenizer.encode("今天天", maxlen=3)[0] == [ids[0], ids[1], ids[3]]
    text = "今天天气，KEY good"
    assert tokenizer.rematch(text, tokenizer.tokenize(text))[1:3] == [[0, 1], [2, 3]]


@settings(deadline=None)
@given(st.lists(st.text("今天气很好，keysab Ñ\t", max_size=12), max_size=5))
def test_words_in_a_batch_equal_single_texts(texts):
    words = {**IDS, "今天": len(IDS), "天气": len(IDS) + 1}
    tokenizer = Tokenizer(words, pre_tokenize=pairs_of_characters, token_end=None)
    expected = [tokenizer.tokens_to_ids(tokenizer.tokenize(text)) for text in texts]
    assert [ids for ids, _ in tokenizer.encode_batch(texts)] == expected
