"""Batches of lengths that Keras has not seen at first."""

import keras
import numpy as np
import pytest

from kexue_keras.backend import BatchStream

RNG = np.random.default_rng(0)


def batch(length, size=2):
    ids = RNG.integers(1, 5, (size, length))
    return [ids, RNG.normal(size=(size, 3))], RNG.normal(size=(size, 1))


def model():
    ids, more = keras.Input((None,), dtype="int32"), keras.Input((3,))
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(5, 3)(ids))
    return keras.Model([ids, more], keras.layers.Dense(1)(keras.layers.Add()([x, more])))


@pytest.mark.eager
def test_a_length_that_comes_third():
    trained = model()
    trained.compile("sgd", "mse", jit_compile=False)
    batches = [batch(4), batch(4), batch(7), batch(2, size=1)]
    found = trained.fit(BatchStream(batches), steps_per_epoch=4, verbose=0)
    assert np.isfinite(found.history["loss"]).all()
    (inputs, _), *_ = batches
    whole = trained.predict(BatchStream([x for x, _ in batches], True), steps=4, verbose=0)
    assert whole.shape == (7, 1)
    np.testing.assert_allclose(whole[:2], trained.predict_on_batch(inputs), rtol=1e-5)


def test_lists_and_targets_of_none():
    stream = BatchStream([[[np.ones((2, 3))], None], [np.ones((2, 5)), None, None]])
    (first,), (second,) = stream.get_numpy_iterator()
    assert isinstance(first, tuple) and first[0].dtype == "float32" and second.shape == (2, 5)


def test_it_is_an_iterator_of_what_was_put_in():
    items = [batch(3), batch(4)]
    stream = BatchStream(items)
    assert next(stream) is items[0]
    assert list(stream) == items[1:]


def test_sizes_that_stay_fixed():
    picture, labels, ids = np.ones((2, 8, 8, 3)), np.ones((2, 1)), np.ones((2, 5, 7, 9))
    if keras.backend.backend() != "tensorflow":
        pytest.skip("other back ends have no signature")
    dataset = BatchStream([((picture, labels), ids)]).get_tf_dataset()
    (x, y), z = dataset.element_spec
    assert x.shape.as_list() == [None, None, None, 3]
    assert y.shape.as_list() == [None, 1]
    assert z.shape.as_list() == [None, None, None, None]
    with pytest.raises(ValueError, match="`batches` must have one batch or more. Received: none"):
        BatchStream([]).get_tf_dataset()
