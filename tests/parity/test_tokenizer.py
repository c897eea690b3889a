"""The tokenizer against bert4keras 0.11.5 on every training text at hand."""

import json
import lzma
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sentence_piece_model import write_model

from kexue_keras.tokenizers import SentencePieceTokenizer, Tokenizer, load_vocab

PROGRAM = Path(__file__).with_name("tokenizer_program.py")
TEXT_FIELDS = {
    "math/math23k_train.jsonl.xz": ("original_text",),
    "math/ape210k_valid.jsonl.xz": ("original_text",),
    "kgclue/train.jsonl.xz": ("question", "answer"),
    "kgclue/nlpcc_train.jsonl.xz": ("question", "answer"),
}
# Everything that tokenizers treat in their own way: accents, final sigma, Hangul, ligatures,
# compatibility ideographs, controls, invisible and private characters, lone surrogates.
ODD = (
    "aAbB19 .,'-%$[]#\n\t\r\0\x01\x1c\x85\xa0\u3000\u2028\u2029\u200b\u200d\ufeff\ufffd"
    "é\u0301ñÀΣΑσς각ﬁ豈中文，。：“”·…—ß\u0130\u1e9e\ud800\ue000\U0001f600\U00020000\u0e33\u0903"
)


# pairs of characters that become words of the vocabulary
WORDS = ["多少", "一共", "小明", "千克", "aa", "19", "，。", "b9"]


def two_by_two(text):
    """In place of `jieba.lcut`, as in tokenizer_program.py."""
    return [text[i : i + 2] for i in range(0, len(text), 2)]


def training_texts(data: Path) -> list[str]:
    with lzma.open(data / "sentiment/train.tsv.xz", "rt", encoding="utf-8", newline="\n") as file:
        texts = [line.split("\t")[0] for line in file]
    for name, fields in TEXT_FIELDS.items():
        with lzma.open(data / name, "rt", encoding="utf-8", newline="\n") as file:
            texts += [row[field] for row in map(json.loads, file) for field in fields]
    return texts


def odd_pairs(texts: list[str], count: int) -> list[tuple]:
    rng = random.Random(20)
    pairs = []
    for _ in range(count):
        alphabets = [ODD, rng.choice(texts) or ODD, ODD + rng.choice(texts)]
        first, second = (
            "".join(rng.choices(rng.choice(alphabets), k=rng.randrange(40))) for _ in range(2)
        )
        maxlen = rng.choice([None, 3, 4, 5, 8, 11, 20, 31])
        pairs.append((first, second, maxlen, rng.choice(["right", "left"])))
    return [*pairs, ("a" * 200, "a" * 201, None, "right")]


@pytest.fixture(scope="module", params=[5, pytest.param(1, marks=pytest.mark.slow)])
def answers(request, shared, tmp_path_factory):
    """Of every fifth text: bert4keras takes half a minute for all."""
    folder = tmp_path_factory.mktemp("tokenizer")
    vocab = shared / "checkpoints/tiny_zh/vocab.txt"
    texts = training_texts(shared / "data")
    assert len(texts) > 100_000
    texts = texts[:: request.param]
    pairs = odd_pairs(texts, 1500)
    spiece = write_model(folder / "spiece.model")
    questions = {"texts": texts, "pairs": pairs, "words": WORDS, "spiece": str(spiece)}
    questions = json.dumps(questions)
    (folder / "texts.json").write_text(questions, encoding="utf-8")
    files = [folder / name for name in ("texts.json", "ids.npz", "samples.json")]
    command = [sys.executable, str(PROGRAM), str(vocab), *map(str, files)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "ids.npz") as archive:
        ids = np.split(archive["ids"], np.cumsum(archive["lengths"])[:-1])
    samples = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    return vocab, texts, pairs, ids, samples


@pytest.mark.parity
def test_ids_of_all_training_texts(answers):
    vocab, texts, _, expected, _ = answers
    encoded = Tokenizer(vocab).encode_batch(texts)
    different = [
        text
        for text, (ids, _), reference in zip(texts, encoded, expected, strict=True)
        if ids != reference.tolist()
    ]
    assert different == []


@pytest.mark.parity
def test_vocabulary(answers):
    vocab, _, _, _, samples = answers
    assert list(load_vocab(vocab).items()) == list(samples["vocabulary"].items())
    simplified, keep_tokens = load_vocab(vocab, True, ["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    assert list(simplified.items()) == list(samples["simplified"].items())
    assert keep_tokens == samples["keep_tokens"]


@pytest.mark.parity
@pytest.mark.parametrize("name", ["lower", "cased"])
def test_odd_texts(answers, name):
    vocab, _, pairs, _, samples = answers
    tokenizer = Tokenizer(vocab, do_lower_case=name == "lower")
    offsets_compared = 0
    for (first, second, maxlen, side), expected in zip(pairs, samples[name], strict=True):
        assert list(tokenizer.encode(first, second, maxlen, side)) == expected["pair"]
        assert list(tokenizer.encode(first, None, maxlen, side)) == expected["single"]
        tokens = tokenizer.tokenize(first, maxlen)
        assert tokens == expected["tokens"]
        assert tokenizer.decode(tokenizer.encode(first)[0]) == expected["decoded"]
        # bert4keras's offsets are those in `text.lower()`, which is longer if it has this one.
        if expected["offsets"] is not None and "\u0130" not in first:
            assert tokenizer.rematch(first, tokens) == expected["offsets"]
            offsets_compared += 1
    assert offsets_compared > 1000


def assert_same(tokenizer, pairs, expected):
    """Tokens, pairs that are not shortened, shortened texts, and texts of ids."""
    for (first, second, maxlen, side), sample in zip(pairs, expected, strict=True):
        longest = None if maxlen is None else max(maxlen, 6)
        assert tokenizer.tokenize(first) == sample["tokens"]
        assert list(tokenizer.encode(first, second)) == sample["pair"]
        assert list(tokenizer.encode(first, None, longest, side)) == sample["single"]
        assert tokenizer.decode(tokenizer.encode(first)[0]) == sample["decoded"]


@pytest.mark.parity
def test_words_before_pieces(answers):
    vocab, _, pairs, _, samples = answers
    words = load_vocab(vocab)
    for word in WORDS:
        words.setdefault(word, len(words))
    tokenizer = Tokenizer(words, pre_tokenize=two_by_two)
    assert_same(tokenizer, pairs, samples["words"])
    assert sum(any(t in WORDS for t in sample["tokens"]) for sample in samples["words"]) > 20


@pytest.mark.parity
def test_no_special_tokens(answers):
    vocab, _, pairs, _, samples = answers
    tokenizer = Tokenizer(vocab, token_start=None, token_end=None)
    assert_same(tokenizer, pairs, samples["bare"])


@pytest.mark.parity
def test_sentence_pieces(answers, tmp_path):
    _, _, pairs, _, samples = answers
    # SentencePiece refuses lone surrogates
    pairs = [(x.replace("\ud800", ""), y.replace("\ud800", ""), *z) for x, y, *z in pairs]
    path = write_model(tmp_path / "spiece.model")
    tokenizer = SentencePieceTokenizer(path)
    assert_same(tokenizer, pairs, samples["pieces"])
    kinds = [tokenizer.is_special(i) for i in range(tokenizer.vocab_size)]
    assert kinds == samples["pieces_kinds"]
    translated = SentencePieceTokenizer(
        path,
        token_start="</s>",
        token_end=None,
        pre_tokenize=two_by_two,
        token_translate={"\u2581": "<pad>"},
    )
    assert_same(translated, pairs, samples["translated"])
