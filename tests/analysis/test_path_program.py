"""The compiled program: what is kept, and what is compiled again."""

import gc
import weakref

import keras
import numpy as np
import pytest
import strategy_models
from contract import to_numpy

from kexue_keras import analysis
from kexue_keras.analysis.path_program import rows_of

TOKENS = strategy_models.TOKENS


class Counting(keras.layers.Layer):
    """Counts how often Python runs it."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return x


def counting_model():
    tokens, layer = keras.Input((None,), dtype="int32"), Counting()
    x = keras.layers.Embedding(9, 4, name="words")(tokens)
    x = keras.layers.GlobalAveragePooling1D()(x)
    x = keras.layers.Dense(3, name="logits")(layer(x))
    model = strategy_models.fill(keras.Model(tokens, x))
    return model, layer


def explain(model, tokens=TOKENS, target=1, **options):
    options = {"steps": 4, "embedding": "words", **options}
    return analysis.integrated_gradients(model, tokens, target, **options)


def test_calls_of_the_same_shapes_share_a_program():
    model, layer = counting_model()
    first = explain(model)
    calls = layer.calls
    again = explain(model, TOKENS[::-1], 2)
    explain(model, target=np.zeros(8, int), rule="midpoint")
    assert layer.calls == calls
    np.testing.assert_array_equal(explain(model).tokens, first.tokens)
    assert layer.calls == calls and (again.tokens != first.tokens).any()
    explain(model, baseline=3)  # only the embedding is traced anew
    explain(model, baseline=4)
    assert layer.calls == calls + 1
    explain(model, TOKENS[:, :3])
    assert layer.calls > calls + 1


def test_the_weights_of_the_moment_are_taken():
    model, layer = counting_model()
    before = explain(model)
    calls = layer.calls
    kernel = model.get_layer("logits").kernel
    kernel.assign(2.0 * kernel)
    after = explain(model)
    assert layer.calls == calls
    np.testing.assert_allclose(after.tokens, 2 * before.tokens, rtol=1e-5, atol=1e-6)


def test_a_callable_is_known_again():
    model, layer = counting_model()

    def margin(outputs):
        return outputs[:, 1] - outputs[:, 0]

    found = explain(model, target=margin)
    calls = layer.calls
    np.testing.assert_array_equal(explain(model, target=margin).tokens, found.tokens)
    assert layer.calls == calls
    np.testing.assert_allclose(
        found.tokens, explain(model).tokens - explain(model, target=0).tokens, atol=1e-6
    )


def test_programs_do_not_keep_the_model():
    model, layer = counting_model()
    explain(model)
    gone = weakref.ref(model)
    del model, layer
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None


def test_nothing_of_the_model_changes():
    model, _ = counting_model()
    words = model.get_layer("words")
    before, output = [to_numpy(w.value).copy() for w in model.weights], to_numpy(model(TOKENS))
    explain(model)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(weight.value), value)
    assert "call" not in vars(words)
    np.testing.assert_array_equal(to_numpy(model(TOKENS)), output)


@pytest.mark.once
@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_rows_are_all_samples_at_all_points(size):
    points, weights = np.array([0.2, 0.4, 0.9]), np.array([0.5, 0.3, 0.2])
    rows = rows_of(4, points, weights, size)
    lengths = {array.shape for array in rows.values()}
    assert len(lengths) == 1 and lengths.pop()[1] <= size
    flat = {name: array.ravel() for name, array in rows.items()}
    for sample in range(4):
        mine = flat["sample"] == sample
        weighted = mine & (flat["weight"] > 0)
        np.testing.assert_allclose(flat["point"][weighted], points)
        np.testing.assert_allclose(flat["weight"][weighted], weights)
        for end, place in ((-1, 0.0), (1, 1.0)):
            at = mine & (flat["end"] == end)
            assert flat["point"][at].tolist() == [place] and not flat["weight"][at].any()
