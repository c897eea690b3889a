"""Rotary positions: complex numbers, distances; vectors of distances: one by one."""

import keras
import numpy as np
import pytest
from contract import assert_close, to_numpy

from kexue_keras.layers import (
    AttentionPart,
    MultiHeadAttention,
    apply_rotary_positions,
    relative_positions,
)

RNG = np.random.default_rng(0)


def reference(x, positions):
    """Pairs of features as complex numbers, float64; positions `(batch, length)`."""
    size = x.shape[-1]
    pairs = x[..., ::2] + 1j * x[..., 1::2]
    theta = 10000 ** (-2 * np.arange(size // 2) / size)
    turned = pairs * np.exp(1j * np.asarray(positions)[:, :, None, None] * theta)
    return np.stack([turned.real, turned.imag], -1).reshape(x.shape)


def test_they_are_those_of_complex_numbers():
    x = RNG.normal(size=(2, 700, 3, 8)).astype("float32")
    expected = reference(x, np.tile(np.arange(700), (2, 1)))
    assert_close(apply_rotary_positions(x), expected, atol=1e-4)
    positions = RNG.integers(0, 900, (2, 700))
    assert_close(apply_rotary_positions(x, positions), reference(x, positions), atol=2e-4)
    found = apply_rotary_positions(x, np.arange(5, 705))
    assert_close(found, reference(x, np.tile(np.arange(5, 705), (2, 1))), atol=2e-4)


def test_norms_stay_and_the_first_position_does_not_turn():
    x = RNG.normal(size=(1, 50, 2, 6)).astype("float32")
    found = to_numpy(apply_rotary_positions(x))
    assert_close(np.linalg.norm(found, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(found[:, 0], x[:, 0])


def test_in_half_precision_positions_are_exact():
    x = np.ones((1, 3000, 1, 2), "float16")
    found = apply_rotary_positions(x)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    assert_close(found, reference(x.astype("float64"), np.arange(3000)[None]), atol=1e-3)


def test_an_odd_number_of_features_is_refused():
    with pytest.raises(ValueError, match="even number of features. Received: 5"):
        apply_rotary_positions(np.ones((1, 2, 1, 5), "float32"))
    with pytest.raises(ValueError, match='`head_size` must be even.*"rotary". Received: 3'):
        MultiHeadAttention(2, head_size=3, position="rotary")(np.ones((1, 2, 8), "float32"))
    with pytest.raises(ValueError, match="`size` must be even. Received: 3"):
        relative_positions(2, 2, 3)


def test_attention_scores_depend_on_the_distance_only():
    attention = MultiHeadAttention(2, position="rotary")
    attention.build((None, None, 16))
    token, other = RNG.normal(size=(2, 16)).astype("float32")
    query = to_numpy(attention.project_query(np.tile(token, (1, 40, 1))))
    key = to_numpy(attention.project_key(np.tile(other, (1, 40, 1))))
    scores = np.einsum("bqhd,bkhd->bhqk", query, key)[0]
    for head in scores:
        for distance in range(-39, 40):
            diagonal = np.diagonal(head, distance)
            assert_close(diagonal, np.full(len(diagonal), diagonal[0]), atol=1e-4)
    assert np.ptp(scores[0, 0]) > 0.1


def test_a_part_of_a_sequence_is_projected_like_the_whole():
    """What a decoder with a cache does: the new tokens know where they stand."""
    attention = MultiHeadAttention(2, position="rotary")
    x = RNG.normal(size=(2, 9, 8)).astype("float32")
    whole = attention(x)
    for project in (attention.project_query, attention.project_key):
        assert_close(project(x[:, 6:], np.arange(6, 9)), to_numpy(project(x))[:, 6:], atol=1e-5)
        assert np.abs(to_numpy(project(x[:, 6:])) - to_numpy(project(x))[:, 6:]).max() > 0.01
    query, key = attention.project_query(x), attention.project_key(x)
    key, value = (keras.ops.transpose(y, (0, 2, 1, 3)) for y in (key, attention.project_value(x)))
    attended = attention.attend(query, [AttentionPart(key, value)])
    assert_close(attention.merge_heads(attended), whole, atol=1e-5)


def test_the_whole_layer_equals_plain_attention_of_turned_projections():
    """An independent attention, float64, one head and one query at a time."""
    layer, x = MultiHeadAttention(2, position="rotary"), RNG.normal(size=(1, 6, 8))
    found = to_numpy(layer(x.astype("float32")))
    weights = {w.path.split("/", 1)[1]: to_numpy(w).astype("float64") for w in layer.weights}
    places = np.arange(6)[None]
    q, k, v = (
        (x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]).reshape(1, 6, 2, 4)
        for name in ("query", "key", "value")
    )
    q, k = reference(q, places), reference(k, places)
    attended = np.zeros((6, 2, 4))
    for head in range(2):
        for i in range(6):
            scores = np.exp([q[0, i, head] @ k[0, j, head] / 2 for j in range(6)])
            attended[i, head] = scores / scores.sum() @ v[0, :, head]
    expected = attended.reshape(6, 8) @ weights["output/kernel"] + weights["output/bias"]
    assert_close(found[0], expected, atol=1e-5)


def distance_vector(distance, size, longest=64):
    """One vector, feature by feature, float64."""
    place = min(max(distance, -longest), longest) + longest
    angles = [place / 10000 ** (2 * (i // 2) / size) for i in range(size)]
    return np.array([np.cos(a) if i % 2 else np.sin(a) for i, a in enumerate(angles)])


def test_vectors_of_distances():
    found = to_numpy(relative_positions(90, 7, size=6))
    for i, j in ((0, 0), (0, 6), (3, 1), (64, 0), (65, 0), (89, 6)):
        assert_close(found[i, j], distance_vector(j - i, 6), atol=1e-5)
    np.testing.assert_array_equal(found[70, 0], found[89, 0])
    assert np.abs(found[5, 6] - found[6, 5]).max() > 0.1
    short = to_numpy(relative_positions(5, 5, size=4, max_distance=1))
    assert len({tuple(row) for row in short.reshape(-1, 4)}) == 3


@pytest.mark.parametrize(("keys", "longest"), [(6, 64), (9, 64), (9, 2)])
def test_relative_attention_equals_the_formula(keys, longest):
    """An independent attention, float64, one head, query and key at a time."""
    layer = MultiHeadAttention(2, position="relative", max_distance=longest)
    x, y = RNG.normal(size=(1, 6, 8)), RNG.normal(size=(1, keys, 8))
    found = to_numpy(layer(x.astype("float32"), y.astype("float32")))
    weights = {w.path.split("/", 1)[1]: to_numpy(w).astype("float64") for w in layer.weights}
    q, k, v = (
        (z @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]).reshape(-1, 2, 4)
        for name, z in (("query", x), ("key", y), ("value", y))
    )
    attended = np.zeros((6, 2, 4))
    for head in range(2):
        for i in range(6):
            vectors = [distance_vector(j - i, 4, longest) for j in range(keys)]
            scores = [q[i, head] @ (k[j, head] + vectors[j]) / 2 for j in range(keys)]
            scores = np.exp(scores) / np.exp(scores).sum()
            attended[i, head] = sum(s * (v[j, head] + vectors[j]) for j, s in enumerate(scores))
    expected = attended.reshape(6, 8) @ weights["output/kernel"] + weights["output/bias"]
    assert_close(found[0], expected, atol=1e-5)
