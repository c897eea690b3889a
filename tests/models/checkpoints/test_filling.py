"""All or nothing, one array after another."""

import keras
import numpy as np
import pytest

from kexue_keras.models import CheckpointError
from kexue_keras.models.checkpoints.checkpoint_variable import CheckpointVariable
from kexue_keras.models.checkpoints.filling import fill
from kexue_keras.models.checkpoints.names import Either, Part, names_of

pytestmark = pytest.mark.once


class Archive:
    """Arrays in memory that write down what is asked for."""

    path = "archive"

    def __init__(self, **arrays):
        self.arrays, self.damaged, self.calls = arrays, (), []

    def __contains__(self, name):
        return name in self.arrays

    def shape(self, name):
        if name not in self.arrays:
            raise CheckpointError(f"no {name}")
        return self.arrays[name].shape

    def check(self, name):
        self.calls.append(f"check {name}")
        if name in self.damaged:
            raise CheckpointError(f"{name} is damaged")

    def read(self, name):
        self.calls.append(f"read {name}")
        return self.arrays[name]


def targets(**shapes):
    return [
        CheckpointVariable(name, keras.Variable(np.zeros(shape, "float32"), name=name))
        for name, shape in shapes.items()
    ]


def candidates(target):
    return names_of(target.name)


def test_everything_is_checked_before_the_first_is_read():
    archive = Archive(a=np.ones(2), b=np.full(3, 2.0))
    found = targets(a=(2,), b=(3,))
    fill(found, archive, candidates)
    assert archive.calls == ["check a", "check b", "read a", "read b"]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found[1].variable), [2, 2, 2])


@pytest.mark.parametrize("wrong", ["shape", "name", "damage"])
def test_nothing_is_assigned_if_the_last_is_wrong(wrong):
    archive, found = Archive(a=np.ones(2), b=np.ones(3)), targets(a=(2,), b=(3,))
    if wrong == "shape":
        archive.arrays["b"] = np.ones(4)
    elif wrong == "name":
        del archive.arrays["b"]
    else:
        archive.damaged = ("b",)
    with pytest.raises(CheckpointError, match="b"):
        fill(found, archive, candidates)
    assert not keras.ops.convert_to_numpy(found[0].variable).any()


def test_other_names_and_parts():
    archive = Archive(y=np.arange(6.0))
    found = [
        CheckpointVariable(Part(Either("x", "y"), index, 3), keras.Variable(np.zeros(2)))
        for index in (2, 0)
    ]
    fill(found, archive, candidates)
    values = [keras.ops.convert_to_numpy(target.variable).tolist() for target in found]
    assert values == [[4, 5], [0, 1]] and archive.calls.count("check y") == 1
