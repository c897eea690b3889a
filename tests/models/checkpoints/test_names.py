"""Names of variables in tables of families."""

import copy
import pickle

import numpy as np
import pytest

from kexue_keras.models.checkpoints.names import (
    Either,
    Part,
    Rows,
    Transposed,
    model_shape,
    names_of,
    of_attention,
    of_conv1d,
    of_dense,
    of_layer_norm,
    of_linear,
    of_norm,
    part_of,
    to_file,
    to_model,
)

pytestmark = pytest.mark.once


def test_names():
    assert of_dense("a", "b") == ["a/kernel", "a/bias", "b/kernel", "b/bias"]
    assert of_norm("n") == ["n/beta", "n/gamma"]
    assert of_attention("self", "out")[-3:] == ["self/value/bias", "out/kernel", "out/bias"]
    assert Transposed("x") == "x" and isinstance(Transposed("x"), str)


def test_names_of_hugging_face():
    names = of_linear("a", "b")
    assert names == ["a.weight", "a.bias", "b.weight", "b.bias"]
    assert [isinstance(name, Transposed) for name in names] == [True, False, True, False]
    assert of_linear("a", "b", bias=False) == ["a.weight", "b.weight"]
    assert of_conv1d("a") == ["a.weight", "a.bias"]
    assert not any(isinstance(name, Transposed) for name in of_conv1d("a"))
    assert of_layer_norm("n") == ["n.bias", "n.weight"]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("a", lambda x: x),
        (Transposed("a"), lambda x: x.T),
        (Part("a", 1, 3), lambda x: x[:, 2:4]),
        (Rows("a", 2), lambda x: x[2:]),
        (Either("a", "b"), lambda x: x),
        (Transposed(Part(Rows("a", 1), 2, 3)), lambda x: x[1:, 4:].T),
    ],
)
def test_array_and_shape_in_the_model(name, ours):
    stored = np.arange(24).reshape(4, 6)
    value = to_model(name, stored)
    np.testing.assert_array_equal(value, ours(stored))
    assert model_shape(name, stored.shape) == value.shape


def test_array_in_the_file():
    stored = np.arange(24).reshape(4, 6)
    np.testing.assert_array_equal(to_file(Transposed("a"), stored.T), stored)
    np.testing.assert_array_equal(to_file(Rows("a", 2), stored[2:])[2:], stored[2:])
    assert not to_file(Rows("a", 2), stored[2:])[:2].any()
    for name in (Transposed(Rows("a", 1)), "a"):
        ours = to_model(name, stored)
        np.testing.assert_array_equal(to_model(name, to_file(name, ours)), ours)


def test_alternatives_are_found_inside_other_forms():
    assert list(names_of("a")) == ["a"]
    assert list(names_of(Transposed(Either("a", "b", "c")))) == ["a", "b", "c"]
    assert part_of(Transposed(Part("a", 1, 3))).index == 1 and part_of(Rows("a", 1)) is None


@pytest.mark.parametrize("stored", [(), (5,), (7, 5)])
def test_shapes_that_do_not_fit_are_no_error_here(stored):
    assert model_shape(Part("a", 0, 3), stored) == stored
    assert model_shape(Rows("a", 9), stored) == tuple(0 for _ in stored[:1]) + stored[1:]


def test_names_are_copied_and_pickled_whole():
    name = Transposed(Part(Either("a", "b"), 1, 3))
    for twin in (pickle.loads(pickle.dumps(name)), copy.deepcopy(name)):
        assert type(twin) is Transposed and part_of(twin).count == 3
        assert list(names_of(twin)) == ["a", "b"]
