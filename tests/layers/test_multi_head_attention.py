import keras
import numpy as np
import pytest
from contract import assert_close, check_layer, check_padding, copy, functional, perturb, to_numpy

from kexue_keras import backend
from kexue_keras.layers import AttentionPart, MultiHeadAttention
from kexue_keras.layers.multi_head_attention import heads_first


def part(key, value, visible=None):
    """Keys and values `(batch, keys, heads, size)` as a part of what queries attend to."""
    return AttentionPart(heads_first(key), heads_first(value), visible)


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def normal(generator, *shape):
    return generator.normal(size=shape).astype("float32")


def reference(layer, query, key, value, visible=None):
    """One head, one query, one key at a time, in float64."""
    weights = {w.path.split("/", 1)[1]: to_numpy(w).astype("float64") for w in layer.weights}

    def project(x, name):
        projected = x.astype("float64") @ weights[f"{name}/kernel"]
        if layer.use_bias:
            projected = projected + weights[f"{name}/bias"]
        return projected

    q, k, v = project(query, "query"), project(key, "key"), project(value, "value")
    size = q.shape[-1] // layer.heads
    attended = np.zeros(q.shape)
    for b in range(q.shape[0]):
        for head in range(layer.heads):
            part = slice(head * size, (head + 1) * size)
            for i in range(q.shape[1]):
                seen = [
                    j
                    for j in range(k.shape[1])
                    if visible is None or visible[b, i % visible.shape[1], j]
                ]
                scores = np.array([q[b, i, part] @ k[b, j, part] for j in seen]) / np.sqrt(size)
                scores = np.exp(scores - scores.max())
                attended[b, i, part] = scores / scores.sum() @ v[b, seen, part]
    return project(attended, "output")


@pytest.mark.parametrize(
    "config",
    [
        {"heads": 3, "head_size": 5, "output_size": 7},
        {"heads": 1, "use_bias": False, "kernel_initializer": "he_normal", "dropout": 0.2},
        {"heads": 2, "head_size": 4, "position": "rotary"},
        {"heads": 2, "head_size": 4, "position": "relative"},
    ],
)
def test_contract(config, generator, tmp_path):
    # softmax does not see a constant added to every score, so the key bias gets no gradient
    layer = MultiHeadAttention(**config)
    inputs = (normal(generator, 2, 5, 6),)
    check_layer(layer, inputs, tmp_path, without_gradient=("bias",))


def test_contract_with_other_keys_and_values(generator, tmp_path):
    inputs = tuple(normal(generator, 2, n, 6) for n in (4, 5, 5))
    check_layer(MultiHeadAttention(2), inputs, tmp_path, without_gradient=("bias",))


def test_only_the_key_bias_has_no_gradient(generator):
    layer = MultiHeadAttention(2)
    x, w = normal(generator, 2, 5, 6), normal(generator, 2, 5, 6)
    layer(x)
    perturb(layer)
    _, gradients = backend.value_and_grad(
        lambda: keras.ops.sum(layer(x) * w), layer.trainable_variables
    )()
    for variable, gradient in zip(layer.trainable_variables, gradients, strict=True):
        size = np.abs(to_numpy(gradient)).max()
        assert (size < 1e-5) == variable.path.endswith("key/bias"), variable.path


@pytest.mark.parametrize("heads,head_size,output_size", [(1, None, None), (2, None, 5), (3, 4, 7)])
def test_self_attention_equals_the_formula(generator, heads, head_size, output_size):
    layer = MultiHeadAttention(heads, head_size, output_size)
    x = normal(generator, 2, 5, 6)
    layer(x)
    perturb(layer)
    found = layer(x)
    assert found.shape == (2, 5, output_size or 6)
    assert_close(found, reference(layer, x, x, x), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 4])
def test_cross_attention_with_a_mask_equals_the_formula(generator, rows):
    layer = MultiHeadAttention(2, use_bias=False)
    query, key, value = (normal(generator, 3, n, 8) for n in (4, 6, 6))
    visible = generator.random((3, rows, 6)) < 0.4
    visible[:, :, 2] = True
    layer(query, key, value)
    perturb(layer)
    found = layer(query, key, value, attention_mask=visible)
    assert_close(found, reference(layer, query, key, value, visible), atol=1e-5)
    assert_close(layer(query, key), reference(layer, query, key, key), atol=1e-5)


def test_what_the_mask_hides_has_no_influence_even_if_huge(generator):
    layer = MultiHeadAttention(2)
    x = normal(generator, 2, 5, 8)
    visible = np.ones((2, 1, 5), bool)
    visible[:, :, 3:] = False
    changed = x.copy()
    changed[:, 3:] = 1e4 * normal(generator, 2, 2, 8)
    assert_close(
        layer(x[:, :3], x, attention_mask=visible),
        layer(x[:, :3], changed, attention_mask=visible),
    )


def test_keras_mask_hides_keys(generator):
    x = normal(generator, 2, 5, 8)
    layer = MultiHeadAttention(2)
    layer(x)
    perturb(layer)

    def run(x, mask):
        return layer(x, query_mask=keras.ops.convert_to_tensor(mask))

    def pad(inputs, amount, fill):
        x, mask = inputs
        hidden = fill * normal(generator, len(x), amount, x.shape[2])
        more = np.zeros((len(x), amount), bool)
        return np.concatenate([x, hidden], 1), np.concatenate([mask, more], 1)

    everything = np.ones(x.shape[:2], bool)
    check_padding(run, (x, everything), pad, 5)
    assert_close(run(x, everything), layer(x))


def test_masking_layer_reaches_attention_and_passes_through(generator):
    x = normal(generator, 2, 5, 8)
    x[0, 3:] = 0
    inputs = keras.Input((None, 8))
    layer = MultiHeadAttention(2)
    model = keras.Model(inputs, layer(keras.layers.Masking()(inputs)))
    perturb(layer)
    visible = (x != 0).any(-1)[:, None]
    assert_close(model(x), reference(layer, x, x, x, visible), atol=1e-5)
    assert_close(layer(keras.layers.Masking()(x)), reference(layer, x, x, x, visible), atol=1e-5)
    assert_close(model(x)[:1, :3], model(x[:1, :3]), atol=1e-5)
    mask = keras.layers.Masking().compute_mask(keras.ops.convert_to_tensor(x))
    assert layer.compute_mask(x, mask) is mask


def test_a_given_keras_mask_goes_before_that_of_the_query(generator):
    layer = MultiHeadAttention(2)
    x = normal(generator, 1, 5, 6)
    x[0, 3] = 0
    masked = keras.layers.Masking()(x)
    given = np.array([[True, False, True, True, True]])
    expected = layer(x, attention_mask=given[:, None])
    assert_close(layer(masked, mask=keras.ops.convert_to_tensor(given)), expected, atol=1e-6)
    with pytest.raises(ValueError, match="`mask` goes without `key`"):
        layer(x, x, mask=keras.ops.convert_to_tensor(given))


def test_an_explicit_mask_is_the_whole_mask(generator):
    x = normal(generator, 1, 4, 8)
    layer = MultiHeadAttention(2)
    hide_last = keras.ops.convert_to_tensor(np.array([[True, True, True, False]]))
    see_all = np.ones((1, 1, 4), bool)
    assert_close(layer(x, attention_mask=see_all, query_mask=hide_last), layer(x))


def test_scores_are_computed_in_float32():
    """In float16 scores end at 65,504; in bfloat16 those above 256 are even."""
    for policy, big in (("mixed_float16", 400.0), ("mixed_bfloat16", 20.0)):
        layer = MultiHeadAttention(1, 2, dtype=policy)
        layer.build((None, None, 2))
        arrays = [[[big, 1.0]], [[big, 0.0], [big, 1.0]], [[0.0], [1.0]]]
        query, key, value = (
            keras.ops.cast(np.array(x)[None, :, None], layer.compute_dtype) for x in arrays
        )
        weight = to_numpy(layer.attend(query, [part(key, value)])).astype("float32")
        np.testing.assert_allclose(weight.ravel(), [1 / (1 + np.exp(-1))], atol=5e-3)


def test_dropout_is_active_in_training_only(generator):
    x = normal(generator, 2, 6, 8)
    layer = MultiHeadAttention(2, dropout=0.5)
    assert_close(layer(x), layer(x, training=False))
    first, second = to_numpy(layer(x, training=True)), to_numpy(layer(x, training=True))
    assert np.abs(first - second).max() > 1e-3
    without = MultiHeadAttention(2)
    without(x)
    without.set_weights([w for w in layer.get_weights()][: len(without.weights)])
    assert_close(without(x, training=True), layer(x))


def test_a_single_key_gets_the_whole_weight(generator):
    layer = MultiHeadAttention(2)
    x, key = normal(generator, 2, 3, 8), normal(generator, 2, 1, 8)
    assert_close(layer(x, key), reference(layer, x, key, key), atol=1e-5)


def test_parts_compose_to_the_layer(generator):
    x = normal(generator, 2, 5, 8)
    layer = MultiHeadAttention(4)
    expected = layer(x)
    query, key, value = layer.project_query(x), layer.project_key(x), layer.project_value(x)
    assert query.shape == key.shape == value.shape == (2, 5, 4, 2)
    assert_close(layer.merge_heads(layer.attend(query, [part(key, value)])), expected)


def test_output_shape_is_known_before_the_call():
    layer = MultiHeadAttention(2, output_size=5)
    assert layer.compute_output_shape((None, None, 8)) == (None, None, 5)
    model = functional(copy(layer), (np.zeros((1, 2, 8), "float32"),))
    assert model.output.shape == (None, None, 5)


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"heads": 0}, "`heads` must be at least 1. Received: 0"),
        ({"heads": -2}, "`heads` must be at least 1. Received: -2"),
        ({"heads": 2, "attention_scale": "cosine"}, "`attention_scale`.*Received: 'cosine'"),
        ({"heads": 2, "normalizer": "max"}, "`normalizer`.*Received: 'max'"),
        ({"heads": 2, "head_size": 0}, "`head_size` must be at least 1. Received: 0"),
        ({"heads": 2, "output_size": 0}, "`output_size` must be at least 1. Received: 0"),
        ({"heads": 2, "position": "sinus"}, "`position`.*Received: 'sinus'"),
        ({"heads": 2, "max_distance": 0}, "`max_distance` must be at least 1. Received: 0"),
        ({"heads": 2, "train_length": 1}, "`train_length` must be at least 2. Received: 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**arguments)


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(ValueError, match="`heads` must divide .* 8. Received: heads=3"):
        MultiHeadAttention(3)(np.zeros((1, 2, 8), "float32"))


@pytest.mark.parametrize("length, plain, invariant", [(64, 0.967, 0.727), (512, 0.779, 0.779)])
def test_a_needle_keeps_its_weight_on_longer_sequences(generator, length, plain, invariant):
    check_needle(generator, length, plain, invariant)


@pytest.mark.parametrize("length, plain, invariant", [(4096, 0.307, 0.813), (32768, 0.053, 0.828)])
def test_a_needle_in_a_large_haystack(generator, length, plain, invariant):
    check_needle(generator, length, plain, invariant)


def check_needle(generator, length, plain, invariant):
    """Size 64: one key is the query, with score 8; the scores of random keys are normal."""
    scores = normal(generator, 50, 1, length)
    scores[..., 0] = 8
    for scale, expected in (("sqrt_dim", plain), ("entropy_invariant", invariant)):
        layer = MultiHeadAttention(1, attention_scale=scale)
        weights = to_numpy(layer.normalize(keras.ops.convert_to_tensor(scores)))[..., 0]
        assert weights.mean() == pytest.approx(expected, abs=0.01)


def test_entropy_invariant_scale_equals_the_formula_whatever_the_padding(generator):
    x = normal(generator, 2, 6, 8)
    visible = np.tril(np.ones((6, 6), bool))[None] & np.ones((2, 1, 1), bool)
    layer = MultiHeadAttention(2, attention_scale="entropy_invariant", train_length=64)
    layer(x)
    perturb(layer)
    found = to_numpy(layer(x, attention_mask=visible))
    plain = MultiHeadAttention(2)
    plain(x)
    for i in range(6):
        # the query of position i sees i + 1 keys
        for variable, value in zip(plain.weights, layer.weights, strict=True):
            factor = np.log(i + 1) / np.log(64) if "query" in variable.path else 1
            variable.assign(to_numpy(value) * factor)
        expected = to_numpy(plain(x, attention_mask=visible))
        assert_close(found[:, i], expected[:, i], atol=1e-5)
    wide = np.pad(visible, ((0, 0), (0, 0), (0, 3)))
    keys = np.pad(x, ((0, 0), (0, 3), (0, 0)), constant_values=7)
    assert_close(layer(x, keys, attention_mask=wide), found, atol=1e-6)


def test_at_the_train_length_both_scales_are_the_same(generator):
    x = normal(generator, 1, 512, 4)
    a, b = MultiHeadAttention(2), MultiHeadAttention(2, attention_scale="entropy_invariant")
    expected = a(x)
    b(x)
    b.set_weights(a.get_weights())
    assert_close(b(x), expected, atol=1e-6)


def test_taylor_softmax_equals_the_formula_and_hides_what_is_masked(generator):
    layer = MultiHeadAttention(2, normalizer="taylor_softmax")
    x = normal(generator, 2, 5, 8)
    visible = generator.random((2, 5, 5)) < 0.6
    visible[..., 0] = True
    layer(x)
    perturb(layer)
    query, key = (to_numpy(f(x)) for f in (layer.project_query, layer.project_key))
    scores = np.einsum("bqhd,bkhd->bhqk", query, key)
    weights = (1 + scores + scores**2 / 2) * visible[:, None]
    weights /= weights.sum(-1, keepdims=True)
    attended = np.einsum("bhqk,bkhd->bqhd", weights, to_numpy(layer.project_value(x)))
    expected = to_numpy(layer.merge_heads(keras.ops.convert_to_tensor(attended.astype("float32"))))
    assert_close(layer(x, attention_mask=visible), expected, atol=1e-5)


@pytest.mark.parametrize("scale", ["sqrt_dim", "entropy_invariant"])
@pytest.mark.parametrize("normalizer", ["softmax", "taylor_softmax"])
def test_contract_of_scales_and_normalizers(scale, normalizer, generator, tmp_path):
    layer = MultiHeadAttention(2, attention_scale=scale, normalizer=normalizer, train_length=8)
    # the key bias does change a Taylor-softmax
    without_gradient = ("bias",) if normalizer == "softmax" else ()
    check_layer(layer, (normal(generator, 2, 5, 6),), tmp_path, without_gradient=without_gradient)


@pytest.mark.parametrize("scale", ["sqrt_dim", "entropy_invariant"])
@pytest.mark.parametrize("normalizer", ["softmax", "taylor_softmax"])
def test_huge_scores_have_finite_weights_and_gradients(scale, normalizer):
    layer = MultiHeadAttention(1, attention_scale=scale, normalizer=normalizer)
    rows = [[1e4, -1e4, 0, 1e4], [-1e4] * 4, [3, 1e4, 1, 2]]
    scores = keras.Variable(np.array([rows], "float32"))
    visible = np.array([[[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]], bool)

    def objective():
        weights = layer.normalize(scores.value, visible)
        return keras.ops.sum(weights * keras.ops.arange(4, dtype="float32"))

    _, (gradient,) = backend.value_and_grad(objective, [scores])()
    weights, gradient = to_numpy(layer.normalize(scores.value, visible)), to_numpy(gradient)
    assert np.isfinite(weights).all() and np.isfinite(gradient).all()
    seeing = visible.any(-1)
    assert not weights[seeing][~visible[seeing]].any() and not gradient[~visible].any()
    np.testing.assert_allclose(weights[seeing].sum(-1), 1, rtol=1e-6)


def test_the_train_length_counts_what_is_visible(generator):
    x = normal(generator, 1, 600, 4)
    visible = np.arange(600) < 512
    plain = MultiHeadAttention(2)
    invariant = MultiHeadAttention(2, attention_scale="entropy_invariant")
    for layer in (plain, invariant):
        layer(x)
        perturb(layer)
    expected = to_numpy(plain(x, attention_mask=visible[None, None]))[:, :512]
    assert_close(
        to_numpy(invariant(x, attention_mask=visible[None, None]))[:, :512], expected, atol=1e-5
    )
    mask = keras.ops.convert_to_tensor(visible[None])
    assert_close(to_numpy(invariant(x, query_mask=mask))[:, :512], expected, atol=1e-5)
    assert np.abs(to_numpy(invariant(x))[:, :512] - expected).max() > 1e-4


def test_the_needle_through_the_whole_layer(generator):
    """Queries of norm 8 in 64 dimensions; the first key is the query, the others are random."""
    for length, plain, invariant in ((64, 0.967, 0.727), (512, 0.779, 0.779)):
        query = normal(generator, 100, 1, 64)
        query *= 8 / np.linalg.norm(query, axis=-1, keepdims=True)
        keys = normal(generator, 100, length, 64)
        keys[:, :1] = query
        values = np.zeros_like(keys)
        values[:, 0, 0] = 1
        for scale, expected in (("sqrt_dim", plain), ("entropy_invariant", invariant)):
            layer = MultiHeadAttention(1, use_bias=False, attention_scale=scale)
            layer(query, keys, values)
            for weight in layer.weights:
                weight.assign(np.eye(64))
            found = to_numpy(layer(query, keys, values))[..., 0]
            assert found.mean() == pytest.approx(expected, abs=0.01)
