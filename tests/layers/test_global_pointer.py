"""GlobalPointer and EfficientGlobalPointer against the articles' formulas, pair by pair."""

import contract
import numpy as np
import pytest
from contract import to_numpy
from keras import ops

from kexue_keras.layers import EfficientGlobalPointer, GlobalPointer
from kexue_keras.losses import sparse_multilabel_categorical_crossentropy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 5, 6)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]], bool)
HEADS, SIZE = 3, 4
BOTH = [GlobalPointer, EfficientGlobalPointer]


def built(cls, **options):
    layer = cls(HEADS, SIZE, **options)
    layer(X)
    contract.perturb(layer)
    return layer


def rotation(position):
    """The matrix that turns the pairs of features of a position."""
    matrix = np.zeros((SIZE, SIZE))
    for i in range(SIZE // 2):
        angle = position * 10000 ** (-2 * i / SIZE)
        turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = turn
    return matrix


def reference(layer, x, mask=None):
    """One pair at a time, float64; hidden pairs are NaN."""
    weights = [to_numpy(w).astype("float64") for w in layer.weights]
    bias = iter(weights[1::2] if layer.use_bias else [0, 0])
    kernels = iter(weights[:: 2 if layer.use_bias else 1])
    h = x @ next(kernels) + next(bias)
    efficient = isinstance(layer, EfficientGlobalPointer)
    if efficient:
        types = h @ next(kernels) + next(bias)
    out = np.full((len(x), HEADS, x.shape[1], x.shape[1]), np.nan)
    for b, a, i, j in np.ndindex(out.shape):
        if layer.tril_mask and i > j or mask is not None and not (mask[b, i] and mask[b, j]):
            continue
        if efficient:
            q, k = h[b, i, ::2], h[b, j, 1::2]
        else:
            head = 2 * SIZE * a
            q, k = h[b, i, head : head + SIZE], h[b, j, head + SIZE : head + 2 * SIZE]
        if layer.RoPE:
            q, k = rotation(i) @ q, rotation(j) @ k
        out[b, a, i, j] = q @ k / np.sqrt(SIZE)
        if efficient:
            out[b, a, i, j] += (types[b, i, 2 * a + 1] + types[b, j, 2 * a]) / 2
    return out


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize(
    "options", [{}, {"RoPE": False}, {"tril_mask": False}, {"use_bias": False}], ids=str
)
@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
def test_scores_are_the_formula(cls, options, mask):
    layer = built(cls, **options)
    found = to_numpy(layer(X, mask=None if mask is None else ops.convert_to_tensor(mask)))
    expected = reference(layer, X.astype("float64"), mask)
    hidden = np.isnan(expected)
    assert hidden.any() == (layer.tril_mask or mask is not None)
    assert (found[hidden] == np.float32(-1e30)).all()
    np.testing.assert_allclose(found[~hidden], expected[~hidden], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", BOTH)
def test_contract(cls, tmp_path):
    layer = cls(HEADS, SIZE, tril_mask=False, kernel_initializer="he_normal")
    contract.check_layer(layer, (X,), tmp_path, mixed_precision=False)
    for dtype in ("mixed_float16", "mixed_bfloat16"):
        low = built(cls, dtype=dtype)
        exact = to_numpy(built(cls)(X))
        found = to_numpy(low(X))
        assert found.dtype == "float32"
        shown = exact > -1e29
        np.testing.assert_allclose(found[shown], exact[shown], atol=0.2)


@pytest.mark.parametrize("cls", BOTH)
def test_padding_changes_nothing(cls):
    layer = built(cls)

    def run(x, mask):
        scores = layer(x, mask=ops.convert_to_tensor(mask))
        return scores[..., : X.shape[1], : X.shape[1]]

    def pad(inputs, amount, fill):
        x, mask = inputs
        return (
            np.pad(x, ((0, 0), (0, amount), (0, 0)), constant_values=fill),
            np.pad(mask, ((0, 0), (0, amount))),
        )

    contract.check_padding(run, (X, np.ones(X.shape[:2], bool)), pad, None)


def test_only_the_distance_counts():
    """The same vectors three places later have the same scores, with rotary positions too."""
    layer = built(GlobalPointer)
    late = np.concatenate([RNG.normal(size=(2, 3, 6)).astype("float32"), X], axis=1)
    found, expected = to_numpy(layer(late))[..., 3:, 3:], to_numpy(layer(X))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", BOTH)
def test_few_weights(cls):
    count = {
        GlobalPointer: (6 + 1) * 2 * HEADS * SIZE,
        EfficientGlobalPointer: (6 + 1) * 2 * SIZE + (2 * SIZE + 1) * 2 * HEADS,
    }[cls]
    layer = built(cls)
    assert layer.count_params() == count
    names = [name for name, _ in layer.bert4keras_weights()]
    one = cls is GlobalPointer
    assert names == [f"{d}/{v}" for d in (["dense"] if one else ["p_dense", "q_dense"])
                     for v in ("kernel", "bias")]  # fmt: skip


def test_the_loss_of_its_scores_is_finite_with_hidden_pairs():
    layer = built(GlobalPointer)
    scores = layer(X, mask=ops.convert_to_tensor(MASK))
    pieces = np.array([[[1, 7, 0], [12, 0, 0], [0, 0, 0]]] * 2)
    flat = ops.reshape(scores, (2, HEADS, 25))
    loss = to_numpy(sparse_multilabel_categorical_crossentropy(pieces, flat, mask_zero=True))
    assert np.isfinite(loss).all() and loss.max() < 100


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 4), "`heads` must be at least 1. Received: 0"),
        ((2, 0), "`head_size` must be at least 1. Received: 0"),
        ((2, 3), "`head_size` must be even with `RoPE`. Received: 3"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GlobalPointer(*arguments)
