"""One softmax over several parts is that over all keys side by side."""

import numpy as np
import pytest
from contract import assert_close, compute, perturb, to_numpy

from kexue_keras import backend
from kexue_keras.layers import AttentionPart, MultiHeadAttention
from kexue_keras.layers import multi_head_attention as layer_module
from kexue_keras.layers.attention_part import heads_first

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 6, 8)).astype("float32")
MASK = RNG.random((2, 6, 6)) < 0.6
MASK[..., 0] = True


def layer_and_parts(split, **options):
    """The layer; queries, keys and values; all of it as one part, and cut at `split`."""
    layer = MultiHeadAttention(2, **options)
    compute(layer, X)
    perturb(layer)
    places = np.arange(6, dtype="int32")
    query = layer.project_query(X)
    key, value = heads_first(layer.project_key(X)), heads_first(layer.project_value(X))
    whole = [AttentionPart(key, value, MASK, places)]
    cut = [
        AttentionPart(key[:, :, :split], value[:, :, :split], MASK[..., :split], places[:split]),
        AttentionPart(key[:, :, split:], value[:, :, split:], MASK[..., split:], places[split:]),
    ]
    return layer, query, whole, cut


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention_scale": "entropy_invariant", "train_length": 4},
        {"normalizer": "taylor_softmax"},
        {"position": "relative"},
        {"position": "rotary"},
        {"dtype": "mixed_bfloat16"},
    ],
)
@pytest.mark.parametrize("split", [1, 4])
def test_parts_are_keys_side_by_side(options, split):
    layer, query, whole, cut = layer_and_parts(split, **options)
    expected = layer.attend(query, whole)
    atol = 2e-2 if "dtype" in options else 1e-6
    assert_close(layer.attend(query, cut), expected, atol=atol)
    assert_close(layer.attend(query, cut[::-1]), expected, atol=atol)
    assert_close(layer.merge_heads(expected), layer(X, attention_mask=MASK), atol=atol)


def test_a_part_without_a_mask_is_seen_whole():
    layer, query, _, cut = layer_and_parts(4)
    seen = [cut[0]._replace(visible=None), cut[1]]
    mask = MASK.copy()
    mask[..., :4] = True
    assert_close(layer.attend(query, seen), layer.attend(query, [layer_whole(layer, mask)]))


def layer_whole(layer, mask):
    key, value = heads_first(layer.project_key(X)), heads_first(layer.project_value(X))
    return AttentionPart(key, value, mask)


def test_keys_of_all_and_keys_of_each_query():
    layer, query, whole, cut = layer_and_parts(4)
    key, value = (to_numpy(x) for x in cut[0][:2])
    for array in (key, value):
        array[1] = array[0]  # the same for the whole batch
    same = cut[0]._replace(key=key, value=value)
    shared = same._replace(key=key[0], value=value[0])
    assert_close(layer.attend(query, [shared, cut[1]]), layer.attend(query, [same, cut[1]]))
    own = [np.repeat(to_numpy(x)[:, None], 6, axis=1) for x in cut[1][:2]]
    own = AttentionPart(*own, cut[1].visible, cut[1].positions)
    assert_close(layer.attend(query, [cut[0], own]), layer.attend(query, cut))


def test_a_bias_is_added_to_the_scores():
    layer, query, whole, cut = layer_and_parts(4)
    bias = RNG.normal(size=(2, 6, 6)).astype("float32")
    halves = [
        part._replace(bias=b) for part, b in zip(cut, (bias[..., :4], bias[..., 4:]), strict=True)
    ]
    found = layer.attend(query, halves)
    assert_close(found, layer.attend(query, [whole[0]._replace(bias=bias)]))
    assert np.abs(to_numpy(found) - to_numpy(layer.attend(query, whole))).max() > 1e-2
    assert_close(layer(X, attention_mask=MASK, bias=bias), layer.merge_heads(found))


@pytest.mark.parametrize("position", [None, "rotary"])
def test_the_fused_kernel_gives_the_same(monkeypatch, position):
    layer = MultiHeadAttention(2, position=position, dropout=0.3)
    compute(layer, X)
    perturb(layer)
    called, original = [], layer_module.ops.dot_product_attention
    expected = [to_numpy(layer(X, attention_mask=m)) for m in (MASK, MASK[:, :1])]
    expected.append(to_numpy(layer(X)))

    def counting(*args, **kwargs):
        called.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(backend, "has_fused_attention", lambda: True)
    monkeypatch.setattr(layer_module.ops, "dot_product_attention", counting)
    found = [to_numpy(layer(X, attention_mask=m)) for m in (MASK, MASK[:, :1])]
    found.append(to_numpy(layer(X)))
    assert len(called) == 3
    assert_close(found, expected, atol=1e-5)
    layer(X, training=True)  # drops weights, of which the kernel knows nothing
    for options in ({"normalizer": "taylor_softmax"}, {"position": "relative"}):
        MultiHeadAttention(2, **options)(X)
    assert len(called) == 3
