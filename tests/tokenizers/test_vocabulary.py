"""Reading vocabularies."""

import json

import pytest

from kexue_keras.tokenizers.vocabulary import (
    check_vocabulary,
    is_ideograph,
    is_punctuation,
    is_special,
    load_vocab,
    stem,
)


@pytest.fixture
def write(tmp_path):
    def write(content: bytes):
        path = tmp_path / "vocab.txt"
        path.write_bytes(content)
        return path

    return write


def test_line_separators_are_tokens(write):
    path = write("[PAD]\n\u2028\n好\n##\u2028\n天\n".encode())
    assert load_vocab(path) == {"[PAD]": 0, "": 1, "好": 2, "##": 3, "天": 4}


def test_ids_after_the_line_separators_of_googles_vocabulary(shared):
    path = shared / "checkpoints/tiny_zh/vocab.txt"
    token_dict = load_vocab(path)
    lines = path.read_text(encoding="utf-8").split("\n")
    assert len(token_dict) == 21128
    assert list(token_dict.values()) == list(range(21128))
    for token in ("[CLS]", "[MASK]", "的", "##s", lines[344], lines[13503], lines[21127]):
        assert token_dict[token] == lines.index(token)


def test_mark_and_carriage_returns_and_empty_end(write):
    expected = {"[PAD]": 0, "好": 1}
    assert load_vocab(write("\ufeff[PAD]\r\n好\r\n\r\n\r\n".encode())) == expected
    assert load_vocab(write("[PAD]\n好".encode())) == expected
    assert load_vocab(write("[PAD]\t17\n好 3\n".encode())) == expected


def test_simplified(write):
    path = write("[PAD]\n[unused1]\n[UNK]\n好\n##好\n，\n##ed\na，b\nof\n[CLS]\n".encode())
    simplified, keep_tokens = load_vocab(path, simplified=True, startswith=["[CLS]", "[PAD]"])
    assert simplified == {"[CLS]": 0, "[PAD]": 1, "好": 2, "，": 3, "##ed": 4, "of": 5}
    assert keep_tokens == [9, 0, 3, 5, 6, 8]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"vocab\.txt:1: .*empty"),
        (b"\r\n\n", r"vocab\.txt:1: .*empty"),
        (b"[PAD]\n\xff\xfe\n", r"vocab\.txt:2: .*UTF-8"),
        ("a\nb\n好\nb\n".encode(), r"vocab\.txt:4: .*'b', already on line 2"),
        (b"a\n\nb\n\nc\n", r"vocab\.txt:4: .*'', already on line 2"),
    ],
)
def test_bad_files(write, content, message):
    with pytest.raises(ValueError, match=message):
        load_vocab(write(content))


def test_bad_arguments(write):
    path = write(b"[PAD]\n")
    with pytest.raises(ValueError, match=r"`startswith` must name tokens.*\['\[CLS\]'\]"):
        load_vocab(path, simplified=True, startswith=["[CLS]"])
    with pytest.raises(ValueError, match="`startswith` needs `simplified=True`"):
        load_vocab(path, startswith=["[PAD]"])
    with pytest.raises(FileNotFoundError):
        load_vocab(path.with_name("absent.txt"))


def test_the_size_must_be_that_of_the_configuration(write, tmp_path):
    path, config = write(b"[PAD]\na\nb\n"), tmp_path / "config.json"
    config.write_text('{"vocab_size": 3}', encoding="utf-8")
    check_vocabulary(path, config)
    for text in ('{"vocab_size": 4}', "{}"):
        config.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="has 3 tokens, but `config_path` .* vocab_size"):
            check_vocabulary(path, config)


def test_characters():
    assert all(map(is_ideograph, "一龥㐀豈\U00020000\U0002f800"))
    assert not any(map(is_ideograph, "aあ한、，〇\u3007"))
    assert all(map(is_punctuation, "!/:@[`{~$+，。“…—·"))
    assert not any(map(is_punctuation, "a0 好￥\t\x7f"))
    assert is_special("[CLS]") and not is_special("[") and not is_special("")
    assert (stem("##ing"), stem("ing")) == ("ing", "ing")


def word_piece(**changes):
    model = {"type": "WordPiece", "vocab": {"[UNK]": 0, "好": 2, "of": 1, "##好": 3}, **changes}
    return {"version": "1.0", "model": model, "added_tokens": [{"id": 4, "content": "[NEW]"}]}


def test_vocabulary_of_a_tokenizer_of_hugging_face(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(word_piece()), encoding="utf-8")
    expected = {"[UNK]": 0, "of": 1, "好": 2, "##好": 3, "[NEW]": 4}
    for place in (path, tmp_path):
        assert list(load_vocab(place).items()) == list(expected.items())
    simplified, kept = load_vocab(path, simplified=True, startswith=["[UNK]", "好"])
    assert list(simplified) == ["[UNK]", "好", "of"] and kept == [0, 2, 1]
    (tmp_path / "vocab.txt").write_text("[UNK]\nx\n", encoding="utf-8")
    assert load_vocab(tmp_path) == {"[UNK]": 0, "x": 1}  # goes before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no tokenizer of Hugging Face"),
        ("[]", "is no tokenizer of Hugging Face"),
        ("{}", "is no tokenizer of Hugging Face"),
        (json.dumps(word_piece(type="BPE")), "must have a WordPiece with '##'. Received: BPE"),
        (
            json.dumps(word_piece(continuing_subword_prefix="@")),
            "must have a WordPiece with '##'. Received: WordPiece with '@'",
        ),
    ],
)
def test_other_tokenizers_of_hugging_face(tmp_path, text, message):
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_vocab(tmp_path / "tokenizer.json")


def test_a_folder_without_vocabulary(tmp_path):
    with pytest.raises(ValueError, match="must have one of vocab.txt, tokenizer.json, spiece.mo"):
        load_vocab(tmp_path)
