"""Colours of scores, and the check of what is to be coloured."""

import numpy as np
import pytest

from kexue_keras.analysis.attribution_colors import checked, shade

pytestmark = pytest.mark.once


def channels(colour):
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def test_red_grows_with_positive_scores_and_blue_with_negative_ones():
    for sign in (1, -1):
        found = [channels(shade(sign * score, 2.0)[0]) for score in (0.0, 0.5, 1.0, 2.0, 5.0)]
        main, other = (0, 2) if sign > 0 else (2, 0)
        faded = [colour[other] for colour in found]
        assert found[0] == [255] * 3 and faded == sorted(faded, reverse=True)
        assert found[-1] == found[-2] and all(c[main] > c[other] for c in found[1:])
    assert shade(1.0, 0.0)[0] == "#ffffff" == shade(0.0, 0.0)[0]


def test_padding_is_left_out_and_what_does_not_fit_is_refused():
    ((texts, scores),) = checked([["a", "##b", "##"]], [[1, -2, 3, 0, 0]])
    assert texts == ["a", "b", "##"] and scores.tolist() == [1, -2, 3]
    for tokens, scores, message in (
        ([["a"]], [[1], [2]], "`scores` must be as many as `tokens`"),
        ([], [], "`scores` must be as many as `tokens`"),
        ([["a", "b"]], [[1]], "`scores` must be finite, a number for each token"),
        ([["a"]], [[np.nan]], "`scores` must be finite"),
        ([["a"]], [[[1, 2]]], "`scores` must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            checked(tokens, scores)
