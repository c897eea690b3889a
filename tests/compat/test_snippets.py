"""Functions of bert4keras.snippets, with the results that its own give."""

import numpy as np
import pytest

from kexue_keras.compat import snippets

pytestmark = pytest.mark.once


def test_sequence_padding():
    padded = snippets.sequence_padding([[1, 2], [3]], value=9)
    assert padded.tolist() == [[1, 2], [3, 9]]
    assert snippets.sequence_padding([[1, 2], [3]], mode="pre").tolist() == [[1, 2], [0, 3]]
    assert snippets.sequence_padding([[1, 2, 3], [3]], 2).tolist() == [[1, 2], [3, 0]]
    nested = [np.ones((2, 1, 2)), np.ones((1, 3, 2))]
    assert snippets.sequence_padding(nested, seq_dims=2).shape == (2, 2, 3, 2)
    with pytest.raises(ValueError, match='`mode` must be "post" or "pre". Received: \'both\''):
        snippets.sequence_padding([[1]], mode="both")


def test_arrays_and_strings():
    assert snippets.to_array([1]).tolist() == [1]
    one, two = snippets.to_array([1], [[2]])
    assert one.shape == (1,) and two.shape == (1, 1)
    assert snippets.is_string("天") and not snippets.is_string(b"x")
    thing = []
    assert snippets.is_one_of(thing, [[], thing]) and not snippets.is_one_of([], [thing])
    assert snippets.string_matching("a/bias", ["Norm", "bi.s"])
    assert snippets.uniout is None
    np.testing.assert_allclose(snippets.softmax(np.array([[0.0, np.log(3)]])), [[0.25, 0.75]])


def test_truncation():
    one, two = [1, 2, 3, 4, 5], [6, 7]
    assert snippets.truncate_sequences(5, -2, one, two) == [[1, 2, 5], [6, 7]]


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (("短", 8, "。，"), ["短"]),
        (("天很蓝。云很白，风很轻。", 8, "。，"), ["天很蓝。", "云很白，风很轻。"]),
        (("天很蓝。云很白，风很轻。", 8, "。，", "，。"), ["天很蓝", "云很白，风很轻"]),
        (("天很蓝。云很白，风很轻。", 5, "。，", "，。"), ["天很蓝", "云很白", "风很轻"]),
        (("没有停顿的句子", 3, "。"), ["没有停顿的句子"]),
    ],
)
def test_segments(arguments, expected):
    assert snippets.text_segmentate(*arguments) == expected


def test_common_parts():
    assert snippets.longest_common_substring("天气预报", "看天气预") == (3, (0, 3, 1, 4))
    length, pairs = snippets.longest_common_subsequence("天气预报", "今天的预报")
    assert (length, pairs) == (3, [(0, 1), (2, 3), (3, 4)])
    assert snippets.longest_common_substring("a", "b") == (0, (0, 0, 0, 0))


def double(x):
    return 2 * x


@pytest.mark.parametrize("dummy", [True, False])
def test_parallel_apply(dummy):
    found = snippets.parallel_apply(
        double, range(20), workers=2, max_queue_size=3, dummy=dummy, unordered=False
    )
    assert found == list(range(0, 40, 2))
    seen = []
    snippets.parallel_apply(double, range(5), 2, 3, callback=seen.append, dummy=True)
    assert sorted(seen) == [0, 2, 4, 6, 8]
