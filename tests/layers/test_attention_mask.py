import keras
import numpy as np
import pytest
from contract import check_config, check_reload, check_unknown_length, functional, to_numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue_keras.layers import AttentionMask

TOKEN_IDS = np.array([[5, 6, 0, 7, 8, 9], [0, 4, 4, 4, 0, 0], [3, 3, 3, 3, 3, 3]], "int32")
SEGMENT_IDS = np.array([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1]], "int32")


def may_look(mode, token_ids, segment_ids, i, j):
    """Whether token i may look at token j, by the words of the definition."""
    if token_ids[j] == 0 and j > 0:
        return False
    if mode == "padding":
        return True
    if mode == "causal":
        return j <= i
    return sum(segment_ids[: j + 1]) <= sum(segment_ids[: i + 1])


def reference(mode, token_ids, segment_ids):
    batch, length = token_ids.shape
    rows = range(1 if mode == "padding" else length)
    return np.array(
        [
            [
                [may_look(mode, token_ids[b], segment_ids[b], i, j) for j in range(length)]
                for i in rows
            ]
            for b in range(batch)
        ]
    )


@pytest.mark.parametrize("mode", ["padding", "causal", "unilm"])
def test_contract(mode, tmp_path):
    layer = AttentionMask(mode)
    inputs = (TOKEN_IDS, SEGMENT_IDS) if mode == "unilm" else (TOKEN_IDS,)
    check_config(layer)
    check_reload(layer, inputs, tmp_path)
    check_unknown_length(layer, inputs)
    model = functional(AttentionMask(mode), inputs)
    assert model.output.shape == (None, 1 if mode == "padding" else None, None)
    assert keras.backend.standardize_dtype(model.output.dtype) == "bool"
    for policy in ("mixed_float16", "mixed_bfloat16"):
        mask = AttentionMask(mode, dtype=policy)(*inputs)
        assert keras.backend.standardize_dtype(mask.dtype) == "bool"


@pytest.mark.parametrize("mode", ["padding", "causal", "unilm"])
def test_equals_the_definition(mode):
    mask = AttentionMask(mode)(TOKEN_IDS, SEGMENT_IDS)
    np.testing.assert_array_equal(to_numpy(mask), reference(mode, TOKEN_IDS, SEGMENT_IDS))


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(["padding", "causal", "unilm"]))
def test_random_ids_equal_the_definition(data, mode):
    row = st.lists(st.integers(0, 2), min_size=5, max_size=5)
    token_ids = np.array(data.draw(st.lists(row, min_size=2, max_size=2)), "int32")
    segments = st.lists(st.integers(0, 1), min_size=5, max_size=5)
    segment_ids = np.array(data.draw(st.lists(segments, min_size=2, max_size=2)), "int32")
    mask = to_numpy(AttentionMask(mode)(token_ids, segment_ids))
    np.testing.assert_array_equal(mask, reference(mode, token_ids, segment_ids))
    assert mask.any(-1).all(), "a query sees nothing"


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_any_number_type_of_the_segment_ids(dtype):
    mask = AttentionMask("unilm")(TOKEN_IDS, SEGMENT_IDS.astype(dtype))
    np.testing.assert_array_equal(to_numpy(mask), reference("unilm", TOKEN_IDS, SEGMENT_IDS))


def test_bad_arguments():
    with pytest.raises(ValueError, match="`mode` must be one of .* Received: 'future'"):
        AttentionMask("future")
    with pytest.raises(ValueError, match='`segment_ids` are needed by mode "unilm".*None'):
        AttentionMask("unilm")(TOKEN_IDS)
