"""Samples sorted by length, computed in batches, and back in order."""

import keras
import numpy as np
import pytest

from kexue_keras.experiments.prediction import by_length, in_parts, pad, predict, seed_of


def test_values_are_in_the_order_of_the_samples():
    rng, parts = np.random.default_rng(0), []
    samples = ["x" * int(n) for n in rng.integers(1, 30, 50)]

    def function(part):
        parts.append([len(text) for text in part])
        return (len(text) for text in part)

    assert by_length(function, samples, batch_size=8) == [len(text) for text in samples]
    assert [len(part) for part in parts] == [8] * 6 + [2]
    assert sum(parts, []) == sorted(map(len, samples))
    assert by_length(function, []) == []


def test_the_length_may_be_any_function():
    seen = []
    by_length(lambda part: seen.extend(part) or part, [3, 1, 2], 2, length=lambda x: -x)
    assert seen == [3, 2, 1]


def test_parts_in_order_with_their_places():
    starts = []
    found = in_parts(lambda part, start: starts.append(start) or part, list(range(7)), 3)
    assert found == list(range(7)) and starts == [0, 3, 6]
    assert len({seed_of(0, 0), seed_of(0, 3), seed_of(1, 0), 0}) == 4


def test_arrays_are_padded_to_the_first_length_that_fits():
    rows = [([1, 2, 3], [7]), ([4], [8, 9])]
    ids, labels = pad(rows, [(2, 4, 8), (2,)], 4)
    np.testing.assert_array_equal(ids, [[1, 2, 3, 0], [4, 0, 0, 0], [0] * 4, [0] * 4])
    np.testing.assert_array_equal(labels, [[7, 0], [8, 9], [0, 0], [0, 0]])


@pytest.mark.once
def test_predictions_of_sequences_of_any_length():
    first, second = keras.Input((None,), dtype="int32"), keras.Input((2,), dtype="int32")
    summed = keras.ops.sum(first, axis=1, keepdims=True) + second
    model, shapes = keras.Model([first, second], summed), set()
    rows = [([i] * (1 + i % 5), [0, 1]) for i in range(11)]

    class Spy:
        def predict_on_batch(self, arrays):
            shapes.add(tuple(array.shape for array in arrays))
            return model.predict_on_batch(arrays)

    found = predict(Spy(), rows, (2, 4, 5), batch_size=4)
    np.testing.assert_array_equal(found[:, 0], [i * (1 + i % 5) for i in range(11)])
    np.testing.assert_array_equal(found[:, 1], found[:, 0] + 1)
    assert shapes <= {((4, n), (4, 2)) for n in (2, 4, 5)}
