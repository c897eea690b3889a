"""Prompts are checked and padded to sizes that come again."""

from types import SimpleNamespace

import numpy as np
import pytest

from kexue_keras.decoding.prompts import PromptReader

pytestmark = pytest.mark.once


def reader(start_id=None, maxlen=4, **model):
    known = {"application": "lm", "vocab_size": 10, "max_position": 40, "condition_size": None}
    return PromptReader(
        SimpleNamespace(**(known | model)), end_id=3, start_id=start_id, maxlen=maxlen
    )


def test_rows_are_filled_up():
    prompts = reader().read([[2, 5], [2, 6, 7]], [[0, 1], [0, 0, 0]])
    assert prompts.token_ids.shape == (2, 16) and prompts.condition is None
    assert prompts.token_ids[:, :4].tolist() == [[2, 5, 0, 0], [2, 6, 7, 0]]
    assert prompts.segment_ids[0, :3].tolist() == [0, 1, 0]
    assert prompts.lengths.tolist() == [2, 3] and prompts.active.tolist() == [True, True]
    three = reader().read([[2]] * 3)
    assert three.active.tolist() == [True] * 3 + [False] and three.token_ids[3, 0] == 3


def test_padding_of_arrays_is_no_part_of_them():
    found = reader().read(np.array([[2, 0, 5, 0], [0, 0, 0, 0]]), np.ones((2, 4), "int32"))
    assert found.lengths.tolist() == [3, 1]
    assert found.segment_ids.sum(1).tolist() == [3, 1]


@pytest.mark.parametrize(("application", "segments"), [("lm", [0, 1, 1]), ("unilm", [0, 1, 1])])
def test_a_start_token_is_appended(application, segments):
    found = reader(start_id=4, application=application).read([[2, 5]], [[0, 1]])
    assert found.token_ids[0, :3].tolist() == [2, 5, 4]
    assert found.segment_ids[0, :3].tolist() == segments
    first = reader(start_id=4, application=application).read([[2, 5]], [[0, 0]])
    assert first.segment_ids[0, 2] == int(application == "unilm")
    alone = reader(start_id=4, application=application).read([[]])
    assert alone.token_ids[0, 0] == 4 and alone.segment_ids[0, 0] == 1


def test_earlier_sizes_are_taken_again_if_they_fit():
    one = reader(max_position=400)
    assert one.read([[1] * 20] * 3).token_ids.shape == (4, 32)
    assert one.read([[1] * 10] * 4).token_ids.shape == (4, 32)
    assert one.read([[1] * 10]).token_ids.shape == (1, 16)
    assert one.read([[1] * 200]).token_ids.shape == (1, 256)
    assert reader(max_position=None).read([[1] * 200]).token_ids.shape == (1, 256)
    assert reader(max_position=21).read([[1] * 18]).token_ids.shape == (1, 21)


def test_conditions():
    conditioned = reader(condition_size=2)
    found = conditioned.read([[2]] * 3, condition=np.arange(6.0).reshape(3, 2))
    assert found.condition.dtype == np.float32
    assert found.condition.tolist() == [[0, 1], [2, 3], [4, 5], [0, 0]]
    with pytest.raises(ValueError, match=r"`condition` must be `\(samples, 2\)`. Received: None"):
        conditioned.read([[2]])
    with pytest.raises(ValueError, match=r"`condition` must be \(1, 2\). Received: \(1, 3\)"):
        conditioned.read([[2]], condition=np.ones((1, 3)))


def test_wrong_prompts():
    for tokens, message in (
        ([[]], r"`token_ids\[0\]` must hold at least one token"),
        ([[1], [10]], r"`token_ids\[1\]` must hold ids from 0 to 9. Received: 10 to 10"),
        ([[1] * 38], r"must fit into the model's 40 positions. Received: 38 tokens"),
        ([[1.5]], r"`token_ids\[0\]` must be a list of int"),
    ):
        with pytest.raises(ValueError, match=message):
            reader().read(tokens)
    with pytest.raises(ValueError, match="`segment_ids` must have as many rows .* 1. Received: 2"):
        reader().read([[1]], [[0], [0]])
    with pytest.raises(ValueError, match=r"`segment_ids\[0\]` must have the length"):
        reader().read([[1]], [[0, 0]])
