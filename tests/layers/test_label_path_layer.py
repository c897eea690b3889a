"""CRF and MEMM against enumeration of all paths, in plain NumPy."""

import itertools
import warnings

import contract
import keras
import numpy as np
import pytest
from keras import ops
from label_paths import (
    LABELS,
    LENGTH,
    LENGTHS,
    LOGITS,
    MAKE,
    MASK,
    RNG,
    TRANS,
    Y,
    built,
    each,
    log_probability,
    log_softmax,
    numpy,
)

from kexue_keras import backend


@each
@pytest.mark.parametrize("lr_multiplier", [1, 100])
def test_losses_are_those_of_enumeration(kind, lr_multiplier):
    layer = built(kind, lr_multiplier=lr_multiplier)
    output = layer(LOGITS, mask=MASK)
    found = numpy(layer.sparse_loss(Y, output))
    expected = [
        -log_probability(kind, f[:n], TRANS, y[:n])
        for f, y, n in zip(LOGITS, Y, LENGTHS, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    dense = layer.dense_loss(np.eye(LABELS, dtype="float32")[Y], output)
    np.testing.assert_allclose(numpy(dense), found, rtol=1e-6)
    np.testing.assert_allclose(numpy(layer.sparse_loss(Y[..., None], output)), found, rtol=1e-6)


@each
def test_best_paths_are_those_of_enumeration(kind):
    layer = built(kind)
    found = layer.decode(LOGITS, MASK)
    for f, n, path in zip(LOGITS, LENGTHS, found, strict=True):
        paths = list(itertools.product(range(LABELS), repeat=n))
        best = max(paths, key=lambda p: log_probability(kind, f[:n], TRANS, p))
        assert path[:n].tolist() == list(best) and not path[n:].any()
    np.testing.assert_array_equal(layer.decode(layer(LOGITS, mask=MASK)), found)


def test_probabilities_of_all_paths_sum_to_one():
    paths = np.array(list(itertools.product(range(LABELS), repeat=LENGTH)), "int32")
    for kind in ("crf", "memm"):
        layer = built(kind)
        output = layer(np.repeat(LOGITS[:1], len(paths), 0))
        total = np.exp(-numpy(layer.sparse_loss(paths, output)).astype("float64")).sum()
        assert total == pytest.approx(1, abs=1e-5)


@each
def test_without_transitions_it_is_a_softmax_at_every_step(kind):
    layer = built(kind, np.zeros_like(TRANS))
    found = numpy(layer.sparse_loss(Y, layer(LOGITS)))
    steps = keras.losses.sparse_categorical_crossentropy(Y, LOGITS, from_logits=True)
    np.testing.assert_allclose(found, numpy(steps).sum(1), rtol=1e-5)
    np.testing.assert_array_equal(layer.decode(LOGITS), LOGITS.argmax(-1))


@each
def test_padding_changes_nothing(kind):
    layer = built(kind)
    mask = np.pad(MASK, ((0, 0), (0, 4)))
    padded = np.pad(LOGITS, ((0, 0), (0, 4), (0, 0)), constant_values=1e4)
    short, long = layer(LOGITS, mask=MASK), layer(padded, mask=mask)
    labels = np.pad(Y, ((0, 0), (0, 4)), constant_values=2)
    for method in ("sparse_loss", "sparse_accuracy"):
        a, b = getattr(layer, method)(Y, short), getattr(layer, method)(labels, long)
        np.testing.assert_allclose(numpy(a), numpy(b), rtol=1e-6)
    np.testing.assert_array_equal(layer.decode(long)[:, :LENGTH], layer.decode(short))


@each
def test_accuracy_is_that_of_the_largest_logits(kind):
    layer = built(kind)
    found = numpy(layer.sparse_accuracy(Y, layer(LOGITS, mask=MASK)))
    assert found == pytest.approx((LOGITS.argmax(-1) == Y)[MASK].mean())
    one_hot = np.eye(LABELS, dtype="float32")[Y]
    assert numpy(layer.dense_accuracy(one_hot, layer(LOGITS, mask=MASK))) == pytest.approx(found)


@each
def test_a_compiled_model_trains_reloads_and_goes_on(kind, tmp_path):
    keras.utils.set_random_seed(0)
    layer = MAKE[kind](lr_multiplier=10)
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 8, mask_zero=True)(inputs)
    model = keras.Model(inputs, layer(keras.layers.Dense(LABELS)(x)))
    model.compile(
        keras.optimizers.Adam(0.05),
        layer.sparse_loss,
        metrics=[layer.sparse_accuracy],
        jit_compile=backend.train_with_xla(),
    )
    # a label follows from the one before only: the input says where the sequence starts
    x = np.tile(np.arange(1, 7, dtype="int32"), (8, 1)) % 2 + 1
    y = (np.arange(6) + np.arange(8)[:, None]).astype("int32") % LABELS
    x[:, 0] = y[:, 0] + 3
    before = model.test_on_batch(x, y)[0]
    model.fit(x, y, epochs=30, verbose=0)
    loss, accuracy = model.test_on_batch(x, y)
    assert loss < 0.3 * before
    np.testing.assert_array_equal(layer.decode(model.predict_on_batch(x)), y)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.test_on_batch(x, y), [loss, accuracy], rtol=1e-5)
    assert again.loss.layer is again.layers[-1] is not layer
    again.fit(x, y, epochs=1, verbose=0)
    decoded = again.layers[-1].decode(again.predict_on_batch(x))
    np.testing.assert_array_equal(decoded, y)


@each
def test_contract(kind, tmp_path):
    layer = MAKE[kind]()
    contract.check_config(layer)
    contract.check_reload(layer, (LOGITS,), tmp_path)
    contract.check_unknown_length(layer, (LOGITS,))
    contract.check_serialization(layer)


def test_bad_arguments():
    for make in MAKE.values():
        with pytest.raises(ValueError, match="`lr_multiplier` must be positive"):
            make(lr_multiplier=0)


@each
def test_batches_of_different_lengths_train_in_one_graph(kind):
    keras.utils.set_random_seed(0)
    layer = MAKE[kind]()
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, layer(keras.layers.Dense(LABELS)(inputs)))
    model.compile(
        "adam",
        layer.sparse_loss,
        metrics=[layer.sparse_accuracy],
        jit_compile=backend.train_with_xla(),
    )

    class Growing(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            x = np.ones((2, 3 + 2 * index, 4), "float32")
            return x, np.ones(x.shape[:2], "int32")

    history = model.fit(Growing(), epochs=3, shuffle=False, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@each
def test_keras_compiles_with_xla_only_what_xla_can_differentiate(kind):
    keras.utils.set_random_seed(0)
    layer, inputs = MAKE[kind](), keras.Input((None, 4))
    model = keras.Model(inputs, layer(keras.layers.Dense(LABELS)(inputs)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is not compiled
        model.compile("adam", layer.sparse_loss, jit_compile=True)
    assert model.jit_compile == (kind != "crf" or keras.backend.backend() != "tensorflow")
    x = RNG.normal(size=(4, LENGTH, 4)).astype("float32")
    losses = model.fit(x, Y, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert losses[1] < losses[0]


@each
def test_a_single_position(kind):
    layer = built(kind)
    found = numpy(layer.sparse_loss(Y[:, :1], layer(LOGITS[:, :1])))
    expected = [-log_softmax(f[0])[y[0]] for f, y in zip(LOGITS, Y, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(layer.decode(LOGITS[:, :1])[:, 0], LOGITS[:, 0].argmax(-1))


def test_gradients_of_the_crf_are_marginals_minus_the_gold_path():
    layer, variable = built("crf"), keras.Variable(LOGITS[:1])
    _, (by_logits, by_trans) = backend.value_and_grad(
        lambda: ops.sum(layer.sparse_loss(Y[:1], layer(variable.value))),
        [variable, layer.weights[0]],
    )()
    paths = np.array(list(itertools.product(range(LABELS), repeat=LENGTH)))
    p = np.array([np.exp(log_probability("crf", LOGITS[0], TRANS, path)) for path in paths])
    eye = np.eye(LABELS)
    marginals = np.einsum("p,pkl->kl", p, eye[paths]) - eye[Y[0]]
    np.testing.assert_allclose(numpy(by_logits)[0], marginals, atol=1e-5)
    pairs = np.einsum("p,pka,pkb->ab", p, eye[paths[:, :-1]], eye[paths[:, 1:]])
    pairs -= np.einsum("ka,kb->ab", eye[Y[0, :-1]], eye[Y[0, 1:]])
    np.testing.assert_allclose(numpy(by_trans), pairs, atol=1e-5)


@each
def test_labels_that_are_none_and_masks_with_gaps_are_seen(kind):
    layer = built(kind)
    strange = Y.copy()
    strange[0, 2], strange[1, 1], strange[2, 3] = -1, LABELS, -100  # the last one is hidden
    loss = numpy(layer.sparse_loss(strange, layer(LOGITS, mask=MASK)))
    assert np.isnan(loss).tolist() == [True, True, False, False]
    assert np.isnan(numpy(layer.sparse_accuracy(strange, layer(LOGITS, mask=MASK))))
    mask = MASK.copy()
    mask[3, 1] = False
    output = layer(LOGITS, mask=mask)
    assert np.isnan(numpy(layer.sparse_loss(Y, output))).tolist() == [False] * 3 + [True]
    with pytest.raises(ValueError, match="on the right only. .* visible ones in sample 3"):
        layer.decode(output)


@each
def test_paths_with_given_first_and_last_labels(kind):
    layer = built(kind)
    for starts, ends in (([1], None), (None, [0, 2]), ([0, 2], [1]), (range(LABELS), None)):
        found = layer.decode(LOGITS, MASK, starts, ends)
        first, last = (set(range(LABELS) if x is None else x) for x in (starts, ends))
        for f, n, path in zip(LOGITS, LENGTHS, found, strict=True):
            paths = [
                p
                for p in itertools.product(range(LABELS), repeat=n)
                if p[0] in first and p[-1] in last
            ]
            if paths:
                best = max(paths, key=lambda p: log_probability(kind, f[:n], TRANS, p))
                assert path[:n].tolist() == list(best)
    for labels in ([3], [-1], [], [[0]]):
        with pytest.raises(ValueError, match="`starts` must be ids of labels below 3. Received"):
            layer.decode(LOGITS, starts=labels)


@each
def test_a_layer_that_has_seen_nothing(kind):
    layer = MAKE[kind](name="fresh")
    for use in (lambda: layer.decode(LOGITS), lambda: layer.sparse_loss(Y, LOGITS)):
        with pytest.raises(ValueError, match="`fresh` has no transitions yet; call it first"):
            use()
