"""Patterns, verbalizers and random masks."""

import random

import numpy as np
import pytest

from kexue_keras.patterns import MASK, Pattern, RandomMask, Verbalizer
from kexue_keras.tokenizers import Tokenizer

pytestmark = pytest.mark.once

CHARACTERS = "很不满意好坏。，？感觉如何书报导一则体育新闻财经下面"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(CHARACTERS), "ab", "##c"]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer({token: i for i, token in enumerate(TOKENS)})


@pytest.mark.parametrize(
    "template, masks",
    [
        ("[MASK]满意。{text}", [1]),
        ("{text}[MASK]满意。", [6]),
        ("感觉如何？[MASK]满意。{text}", [6]),
        ("下面报导一则[MASK][MASK]新闻。{text}", [7, 8]),
        ("[MASK]意，{text}[MASK]", [1, 9]),
    ],
)
def test_patterns_equal_the_tokenizer_on_the_written_text(tokenizer, template, masks):
    text, pattern = "书很好。ab", Pattern(template)
    token_ids, positions = pattern.encode(tokenizer, text)
    assert positions == masks and pattern.num_masks == len(masks)
    assert all(token_ids[i] == tokenizer.mask_id for i in positions)
    words = tokenizer.encode("很" * len(masks))[0][1:-1]
    filled, _ = pattern.encode(tokenizer, text, words=words)
    written = template.replace(MASK, "很").replace("{text}", text)
    assert filled == tokenizer.encode(written)[0]


@pytest.mark.parametrize("template", ["[MASK]满意。{text}", "{text}[MASK]满意。"])
def test_only_the_text_is_cut(tokenizer, template):
    long, _ = Pattern(template).encode(tokenizer, "书" * 300, maxlen=20)
    assert len(long) == 20 and long.count(tokenizer.mask_id) == 1
    assert long.count(tokenizer.token_to_id("书")) == 14
    assert len(Pattern(template).encode(tokenizer, "书" * 300, maxlen=6)[0]) == 6
    with pytest.raises(ValueError, match="`maxlen` must leave room.*Received: 5"):
        Pattern(template).encode(tokenizer, "书", maxlen=5)


def test_a_mask_written_in_the_text_is_no_blank(tokenizer):
    token_ids, positions = Pattern("[MASK]好{text}").encode(tokenizer, "书[MASK]书")
    assert positions == [1] and token_ids.count(tokenizer.mask_id) == 1


def test_bad_patterns_and_words(tokenizer):
    for template in ("满意{text}", "[MASK]满意", "[MASK]{text}{text}"):
        with pytest.raises(ValueError, match="`template` must have"):
            Pattern(template)
    with pytest.raises(ValueError, match="`words` must be 1 ids"):
        Pattern("[MASK]{text}").encode(tokenizer, "书", words=[5, 6])
    with pytest.raises(ValueError, match="has no|must have \\[MASK\\]"):
        tokens = {t: i for i, t in enumerate(["[UNK]", "[CLS]", "[SEP]"])}
        Pattern("[MASK]{text}").encode(Tokenizer(tokens), "书")
    for words in ({1: "很"}, {1: "很", 0: "很"}):
        with pytest.raises(ValueError, match="different words of two labels"):
            Verbalizer(words)
    for words in ({1: "很", 0: "很不"}, {1: "很", 0: "龘"}):
        with pytest.raises(ValueError, match="must have 1 known tokens each"):
            Verbalizer(words).token_ids(tokenizer, 1)


def test_scores_are_the_product_of_full_softmax_probabilities(tokenizer):
    verbalizer = Verbalizer({"sport": "体育", "money": "财经", "book": "书报"})
    ids = verbalizer.token_ids(tokenizer, 2)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 2, len(TOKENS))) * 3
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    product = np.stack([probabilities[:, 0, a] * probabilities[:, 1, b] for a, b in ids], 1)
    whole = verbalizer.scores(ids, range(len(TOKENS)), logits)
    columns = sorted({int(i) for i in ids.flat})
    part = verbalizer.scores(ids, columns, logits[..., columns])
    np.testing.assert_array_equal(whole, part)
    np.testing.assert_array_equal(whole.argmax(1), product.argmax(1))
    ratio = np.log(product[:, :1] / product)
    np.testing.assert_allclose(whole[:, :1] - whole, ratio, atol=1e-9)


def test_random_masks_select_at_their_rate_and_never_what_is_protected():
    rng = random.Random(0)
    token_ids = [2, 4, *range(10, 110), 3]
    mask = RandomMask(mask_id=4, vocabulary=range(5, 200))
    counts = np.zeros(3)
    selected = np.zeros(len(token_ids))
    for _ in range(2000):
        masked, positions, originals = mask(token_ids, rng, protected=(5, 6))
        assert [token_ids[i] for i in positions] == originals
        untouched = set(range(len(token_ids))) - set(positions)
        assert all(masked[i] == token_ids[i] for i in untouched)
        selected[positions] += 1
        for i in positions:
            counts[0 if masked[i] == 4 else 2 if masked[i] == token_ids[i] else 1] += 1
    assert selected[[0, 1, 5, 6, -1]].sum() == 0
    rates = np.delete(selected, [0, 1, 5, 6, len(token_ids) - 1]) / 2000
    assert abs(rates.mean() - 0.15) < 0.003 and np.abs(rates - 0.15).max() < 0.04
    np.testing.assert_allclose(counts / counts.sum(), [0.8, 0.1, 0.1], atol=0.01)


def test_rates_of_zero_and_one():
    rng = random.Random(0)
    assert RandomMask(4, range(5, 9), rate=0)([2, 7, 3], rng) == ([2, 7, 3], [], [])
    assert RandomMask(4, range(5, 9), rate=1)([2, 7, 3], rng)[1:] == ([1], [7])
    with pytest.raises(ValueError, match="`rate` must be from 0 to 1"):
        RandomMask(4, range(5, 9), rate=15)
