"""Spearman's correlation against ranks counted by hand."""

import builtins

import numpy as np
import pytest

from kexue_keras import metrics


def ranks(values):
    """The mean place of every value among all."""
    return np.array([(values < v).sum() + ((values == v).sum() - 1) / 2 for v in values])


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_correlation_of_ranks(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, 40)
    scores = (labels + rng.normal(0, 2, 40)).round(seed % 2)
    expected = np.corrcoef(ranks(labels), ranks(scores))[0, 1]
    assert metrics.spearman(labels, scores) == pytest.approx(expected, abs=1e-12)
    assert metrics.spearman(labels, np.exp(scores)) == pytest.approx(expected, abs=1e-12)
    assert metrics.spearman(labels, -scores) == pytest.approx(-expected, abs=1e-12)


def test_equal_scores_have_none():
    assert np.isnan(metrics.spearman([1, 2], [3, 3]))


def test_what_is_refused():
    for arguments, message in (
        (([1], [1]), "the same shape"),
        (([1, 2], [1, 2, 3]), "the same shape"),
        (([1, 2], [3, np.nan]), "`scores` must be finite"),
        (([1, 1], [1, 2]), "`y_true` must not be all equal"),
    ):
        with pytest.raises(ValueError, match=message):
            metrics.spearman(*arguments)


def test_without_scipy(monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **options):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install \"kexue_keras\[similarity\]\""):
        metrics.spearman([1, 2], [1, 2])
