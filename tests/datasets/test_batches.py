"""Batches: grouping, padding, order, and `fit` itself."""

import random
import sys

import keras
import numpy as np
import pytest

from kexue_keras import datasets
from kexue_keras.datasets.batches import Batches

BUCKETS = (8, 16, 24)


def lengths(count=203, greatest=24, seed=0):
    return random.Random(seed).choices(range(1, greatest + 1), k=count)


def encode(length):
    return (list(range(1, length + 1)), [0] * length), length % 2


def all_batches(batches):
    return [batches[i] for i in range(len(batches))]


def make(samples=None, **options):
    samples = lengths() if samples is None else samples
    return Batches(samples, **({"encode": encode, "batch_size": 8, "buckets": BUCKETS} | options))


def test_is_reachable_from_datasets():
    assert datasets.Batches is Batches


def test_numbers_of_which_some_are_whole_are_floats_in_every_batch():
    labels = [1, 0, 1, 0, 0.5, 1]
    batches = Batches(range(6), lambda i: (([i + 1],), labels[i]), 2, (1,), shuffle=False)
    found = [y for _, y in all_batches(batches)]
    assert [y.dtype for y in found] == [np.float32] * 3
    np.testing.assert_array_equal(np.concatenate(found), labels)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mae")
    assert model.evaluate(batches, verbose=0) == pytest.approx(np.mean(labels))


def test_an_augmentation_may_not_turn_integers_into_floats():
    def half(sample, rng):
        return sample / 2

    batches = Batches([2, 4, 6], lambda x: (([x],), x), 3, (1,), augment=half)
    with pytest.raises(ValueError, match="`augment` must not make floats .* array 0"):
        batches[0]


def test_every_sample_once_in_the_smallest_bucket():
    samples = lengths()
    batches = make(samples)
    seen = []
    for (token_ids, segment_ids), labels in all_batches(batches):
        longest = (token_ids > 0).sum(axis=1)
        assert token_ids.shape == segment_ids.shape
        assert token_ids.shape[1] == min(b for b in BUCKETS if b >= longest.max())
        assert token_ids.dtype == segment_ids.dtype == labels.dtype == np.int32
        np.testing.assert_array_equal(labels, longest % 2)
        np.testing.assert_array_equal(token_ids.max(axis=1), longest)
        seen += longest.tolist()
    assert sorted(seen) == sorted(samples)
    assert len(batches) == 26 and len(batches[25][1]) == 3


def test_batches_hold_samples_of_similar_length():
    mixed = 0
    for (token_ids, _), _ in all_batches(make()):
        shortest = (token_ids > 0).sum(axis=1).min()
        mixed += token_ids.shape[1] != min(b for b in BUCKETS if b >= shortest)
    assert mixed <= len(BUCKETS) - 1


def order(batches):
    return [token_ids.tolist() for (token_ids, _), _ in all_batches(batches)]


def test_order_depends_on_seed_and_epoch():
    batches = make(seed=5)
    first = order(batches)
    batches.on_epoch_end()
    assert batches.epoch == 1
    second = order(batches)
    assert second != first
    resumed = make(seed=5)
    resumed.epoch = 1
    assert order(resumed) == second
    resumed.epoch = 0
    assert order(resumed) == first
    assert order(make(seed=6)) != first


def test_without_shuffling_samples_stay_in_order():
    samples = lengths()
    batches = make(samples, shuffle=False)
    seen = [row.max() for (token_ids, _), _ in all_batches(batches) for row in token_ids]
    assert seen == samples
    batches.on_epoch_end()
    assert [row.max() for (rows, _), _ in all_batches(batches) for row in rows] == samples


def test_first_two_batches_differ_in_length():
    for seed in range(20):
        batches = make(seed=seed)
        assert batches[0][0][0].shape[1] != batches[1][0][0].shape[1]


def test_arrays_with_lengths_of_their_own():
    samples = [(24, 1), (24, 2), (24, 3), (24, 4), (24, 5), (24, 24), (24, 9), (24, 8)]
    batches = Batches(
        samples,
        lambda s: {"tokens": np.ones(s[0]), "targets": [1] * s[1]},
        batch_size=2,
        buckets=BUCKETS,
        shuffle=False,
    )
    shapes = [(b["tokens"].shape, b["targets"].shape) for (b,) in all_batches(batches)]
    # The second is longer than it need be: Keras on TensorFlow looks at the first two only.
    assert shapes == [((2, 24), s) for s in [(2, 8), (2, 16), (2, 24), (2, 16)]]
    assert batches[0][0]["tokens"].dtype == np.float32


def test_greatest_length_everywhere_if_the_first_two_have_it():
    batches = make([24, 24, 1, 2, 3], batch_size=1, shuffle=False)
    assert [b[0][0].shape for b in all_batches(batches)] == [(1, 24)] * 5


@pytest.mark.parametrize(
    ("encoded", "batch"),
    [
        ([1, 2], ([[1, 2, 0], [1, 2, 0]],)),
        (([1], [2]), (([[1, 0, 0]] * 2, [[2, 0, 0]] * 2),)),
        (([1],), ([[1, 0, 0]] * 2,)),
        ({"a": [1], "b": True}, ({"a": [[1, 0, 0]] * 2, "b": [1, 1]},)),
        ((([1],), 0.5), ([[1, 0, 0]] * 2, [0.5, 0.5])),
        (({"a": [1]}, [2]), ({"a": [[1, 0, 0]] * 2}, [[2, 0, 0]] * 2)),
        ((([1], []), (3, 4), 1.0), (([[1, 0, 0]] * 2, [[0] * 3] * 2), ([3] * 2, [4] * 2), [1] * 2)),
        (([[1, 2], [3, 4]],), ([[[1, 2], [3, 4], [0, 0]]] * 2,)),
    ],
)
def test_forms(encoded, batch):
    batches = Batches([0, 1], lambda _: encoded, 2, (3,))

    def as_lists(x):
        if isinstance(x, dict):
            return {name: as_lists(value) for name, value in x.items()}
        return tuple(map(as_lists, x)) if isinstance(x, tuple) else x.tolist()

    assert as_lists(batches[0]) == batch


def test_fixed_arrays_are_not_padded():
    batches = Batches([1, 2], lambda n: (([1] * n,), [0.5, n]), 2, (8,), fixed=[1])
    inputs, targets = batches[0]
    assert inputs.shape == (2, 8) and targets.shape == (2, 2) and targets.dtype == np.float32


def test_fill():
    batches = make(lengths(11), fill=True)
    (tokens, segments), labels, weights = batches[1]
    assert tokens.shape[0] == segments.shape[0] == labels.shape[0] == 8
    np.testing.assert_array_equal(weights, [1] * 3 + [0] * 5)
    assert weights.dtype == np.float32 and not tokens[3:].any()
    assert batches[0][2].tolist() == [1] * 8
    inputs_only = Batches([2, 3, 4], lambda n: [1] * n, 2, (4,), fill=True)
    assert [len(batch) for batch in all_batches(inputs_only)] == [1, 1]


def test_drop_remainder():
    batches = make(drop_remainder=True)
    assert len(batches) == 25
    assert {labels.shape for _, labels in all_batches(batches)} == {(8,)}


def test_a_single_batch_has_one_length_in_all_epochs():
    samples = [3] * 6 + [20] * 3
    batches = make(samples, drop_remainder=True)
    shapes = set()
    for epoch in range(12):
        batches.epoch = epoch
        (((tokens, _), _),) = all_batches(batches)
        shapes.add(tokens.shape)
    assert shapes == {(8, BUCKETS[-1])}


def test_lengths_that_keras_took_for_fixed_stay_so():
    samples = [20] * 40 + [3]
    batches = Batches(samples, encode, 8, (8, 24), seed=0)
    shapes = []
    for epoch in range(6):
        batches.epoch = epoch
        shapes.append({batch[0][0].shape[1] for batch in all_batches(batches)})
    first_two = [batches[i][0][0].shape[1] for i in (0, 1)]
    assert first_two == [24, 24] and all(shape == {24} for shape in shapes)


def test_the_remainder_is_drawn_anew_in_every_epoch():
    samples = [1] * 9 + [9] * 2
    batches = Batches(samples, lambda n: [n] * n, 8, (4, 12), seed=0, drop_remainder=True)
    seen = []
    for epoch in range(20):
        batches.epoch = epoch
        ((tokens,),) = all_batches(batches)
        seen.append(int((tokens == 9).any(axis=1).sum()))
    assert set(seen) == {0, 1, 2} and 20 * 2 * 8 / 11 * 0.6 < sum(seen)


def test_augmentation_depends_on_seed_epoch_and_sample():
    def augment(sample, rng):
        return rng.randrange(1, 25)

    batches = make(augment=augment, seed=1)
    first = order(batches)
    assert first == order(batches) == order(make(augment=augment, seed=1))
    assert first != order(make(augment=augment, seed=2))
    batches.epoch = 1
    assert first != order(batches)
    inside = {token_ids.shape[1] for (token_ids, _), _ in all_batches(batches)}
    assert inside <= set(BUCKETS)


def lines_run(function):
    """How many lines of Python a call runs."""
    lines = 0

    def count(frame, event, _):
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        function()
    finally:
        sys.settrace(before)
    return lines


def test_assembly_is_little_work():
    """A batch is put together without encoding anew, by a few lines for each row of an array."""
    encoded, work = [], []
    for length in (4, 64):
        samples = [length] * 64
        batches = Batches(samples, lambda n: encoded.append(n) or encode(n), 16, (length,))
        before = len(encoded)
        batches[2]
        work.append(lines_run(lambda batches=batches: batches[2]))
        assert len(encoded) == before
    assert work[0] == work[1] < 10 * 16 * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"buckets": ()}, "`buckets` must be ascending.*Received: ()"),
        ({"buckets": (16, 8)}, "`buckets` must be ascending"),
        ({"buckets": (0, 8)}, "`buckets` must be ascending"),
        ({"buckets": (8, 16)}, "`buckets` must fit all samples.*sample 2 of length 17"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer. Received: 0"),
        ({"batch_size": 2.0}, "`batch_size` must be a positive integer. Received: 2.0"),
        ({"seed": -1}, "`seed` must be a non-negative integer. Received: -1"),
        ({"samples": []}, "`samples` must be at least 1. Received: 0"),
        ({"drop_remainder": True}, "`samples` must be at least 8. Received: 3"),
        ({"drop_remainder": True, "fill": True}, "exclude each other"),
        ({"fixed": [3]}, r"`fixed` must be places of the 3 arrays.*Received: \[3\]"),
        ({"encode": lambda n: "text"}, "`encode` must give numbers.*sample 0: text"),
        ({"encode": lambda n: [[1], [1, 2]]}, "`encode` must give arrays, lists.*sample 0"),
        ({"encode": lambda n: ()}, "`encode` must give arrays. Received for sample 0"),
        ({"encode": lambda n: [1] if n > 8 else 1}, "`encode` must give the same form.*sample 1"),
        ({"encode": lambda n: ((1,), 1, 1), "fill": True}, "`encode` must give inputs, targets"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        make(**({"samples": [9, 3, 17]} | options))


def test_bad_epoch_and_index():
    batches = make()
    with pytest.raises(ValueError, match="`epoch` must be a non-negative integer. Received: -1"):
        batches.epoch = -1
    with pytest.raises(IndexError, match="`index` must be below 26. Received: 26"):
        batches[26]


def test_augmented_sample_too_long():
    batches = make(augment=lambda sample, rng: 25)
    with pytest.raises(ValueError, match=r"`buckets` must fit all samples.*of length 25"):
        batches[0]


def model():
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    x = keras.layers.Embedding(32, 4)(inputs[0]) + keras.layers.Embedding(2, 4)(inputs[1])
    x = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(x))
    model = keras.Model(inputs, x)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_fit_evaluate_predict():
    network = model()
    batches = make(lengths(50))
    history = network.fit(batches, epochs=3, verbose=0)
    assert batches.epoch == 3 and np.isfinite(history.history["loss"]).all()
    network.fit(batches, epochs=2, verbose=0)
    assert batches.epoch == 5
    fixed = make(lengths(50), shuffle=False)
    assert np.isfinite(network.evaluate(fixed, verbose=0))
    assert network.predict(fixed, verbose=0).shape == (50, 2)


class Epochs(keras.callbacks.Callback):
    """The epochs of Keras and of the batches at every step."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches
        self.seen = set()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.add((self.epoch, self.batches.epoch))


@pytest.mark.parametrize("first", [0, 2])
def test_epochs_are_those_of_keras(first):
    batches = make(lengths(50))
    epochs = Epochs(batches)
    callbacks = [batches.callback(), epochs]
    options = {"shuffle": False, "callbacks": callbacks, "initial_epoch": first, "epochs": 4}
    model().fit(batches, verbose=0, **options)
    assert epochs.seen == {(epoch, epoch) for epoch in range(first, 4)}
    assert batches.epoch == 4


def test_a_second_training_may_open_with_other_lengths():
    """Keras takes its lengths for fixed, though the first training's were not."""

    def make_of(seed):
        return Batches([3] * 8 + [20] * 9, encode, 8, (8, 24), seed=seed, drop_remainder=True)

    def lengths_of(batches, epoch):
        batches.epoch = epoch
        return [batch[0][0].shape[1] for batch in all_batches(batches)]

    def wanted(seed):
        batches = make_of(seed)
        found = [lengths_of(batches, epoch) for epoch in range(3)]
        return found[0] != [24, 24] and found[1] == [24, 24] and found[2] != [24, 24]

    batches, network = make_of(next(seed for seed in range(999) if wanted(seed))), model()
    options = {"shuffle": False, "callbacks": [batches.callback()], "verbose": 0}
    network.fit(batches, epochs=1, **options)
    network.fit(batches, initial_epoch=1, epochs=4, **options)
    assert batches.epoch == 4
