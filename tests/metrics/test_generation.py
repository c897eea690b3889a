"""Rouge-L and BLEU against their definitions."""

import math
import random
from collections import Counter

import pytest

from kexue_keras import metrics

pytestmark = pytest.mark.once


def brute_force_lcs(a, b):
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
            )
    return table[-1][-1]


def test_rouge_l_is_the_harmonic_mean_of_precision_and_recall():
    rng = random.Random(0)
    for _ in range(200):
        a, b = (rng.choices("一二三四", k=rng.randrange(1, 12)) for _ in range(2))
        length = brute_force_lcs(a, b)
        precision, recall = length / len(b), length / len(a)
        expected = 2 * precision * recall / (precision + recall) if length else 0
        assert metrics.rouge_l(a, b) == pytest.approx(expected)
    assert metrics.rouge_l("", "") == 0 and metrics.rouge_l("一", "一") == 1


def reference_bleu(references, candidates):
    logs, lengths = [], [sum(map(len, references)), sum(map(len, candidates))]
    for n in range(1, 5):
        hits = total = 0
        for reference, candidate in zip(references, candidates, strict=True):
            grams = [
                Counter(text[i : i + n] for i in range(len(text) - n + 1))
                for text in (reference, candidate)
            ]
            hits += sum((grams[0] & grams[1]).values())
            total += sum(grams[1].values())
        logs.append(math.log(hits / total))
    brevity = min(0, 1 - lengths[0] / lengths[1])
    return math.exp(sum(logs) / 4 + brevity)


def test_bleu_is_the_geometric_mean_of_precisions():
    references = ["红楼梦的作者是谁？", "谁在什么时候写了红楼梦这本书？"]
    candidates = ["红楼梦的作者是哪一位？", "谁写了红楼梦这本书？"]
    expected = reference_bleu(references, candidates)
    assert metrics.bleu(references, candidates) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="same number of texts"):
        metrics.bleu(["a"], [])
