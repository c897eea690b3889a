"""Samples in order and shuffled, batches without end, data sets of samples."""

import keras
import numpy as np
import pytest

from kexue_keras.compat.data_generator import DataGenerator

pytestmark = pytest.mark.once


class Batches(DataGenerator):
    def __iter__(self, random=False):
        batch = []
        for is_end, sample in self.sample(random):
            batch.append(sample)
            if len(batch) == self.batch_size or is_end:
                yield [np.array(batch)], None
                batch = []


def test_every_sample_once_and_the_last_one_is_known():
    generator = Batches(list(range(7)), batch_size=3)
    assert len(generator) == 3
    found = [(is_end, x) for is_end, x in generator.sample()]
    assert found == [(False, i) for i in range(6)] + [(True, 6)]
    np.random.seed(0)
    shuffled = [x for _, x in generator.sample(random=True)]
    assert sorted(shuffled) == list(range(7)) and shuffled != list(range(7))


def test_data_without_a_length():
    generator = Batches(iter(range(50)), batch_size=5, buffer_size=10)
    assert generator.steps is None
    np.random.seed(0)
    found = [x for _, x in generator.sample(random=True)]
    assert sorted(found) == list(range(50)) and found != list(range(50))
    assert all(x <= i + 10 for i, x in enumerate(found))
    assert list(Batches([], 2).sample()) == []


def test_batches_without_end():
    generator = Batches(list(range(5)), batch_size=3)
    stream = generator.forfit(random=False)
    assert [next(stream)[0][0].tolist() for _ in range(3)] == [[0, 1, 2], [3, 4], [0, 1, 2]]
    inputs = next(generator.fortest())
    assert inputs[0].tolist() == [0, 1, 2]
    with pytest.raises(NotImplementedError, match="DataGenerator must have a method `__iter__`"):
        next(DataGenerator([1]).forfit())


class Samples(DataGenerator):
    def __iter__(self, random=False):
        for _, n in self.sample(False):
            yield [[n] * n, [0] * n], [[n]]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data")
@pytest.mark.parametrize("named", [True, False])
def test_data_sets(named):
    names = [("ids", "segments"), ("label",)] if named else None
    dataset = Samples([1, 2, 3], 2).to_dataset(
        types=[("float32", "float32"), ("float32",)],
        shapes=[([None], [None]), ([1],)],
        names=names,
        padded_batch=True,
    )
    inputs, target = next(iter(dataset))
    ids = inputs["ids"] if named else inputs[0]
    target = target if named else target[0]
    assert ids.numpy().tolist() == [[1, 0], [2, 2]]
    assert target.numpy().tolist() == [[1], [2]]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data")
def test_data_sets_of_inputs():
    class Inputs(DataGenerator):
        def __iter__(self, random=False):
            for _, n in self.sample(False):
                yield [n] * 2, [0] * 2

    arguments = {"types": ("float32", "float32"), "shapes": ([2], [2]), "names": ("a", "b")}
    batch = next(iter(Inputs([1, 2, 3], 2).to_dataset(**arguments)))
    assert set(batch) == {"a", "b"} and batch["a"].numpy().tolist() == [[1, 1], [2, 2]]
