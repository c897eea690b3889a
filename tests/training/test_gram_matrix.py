"""The solver behind all combinations: tasks left out, precision, refusals."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from gram_matrices import gram_matrices, violation
from keras import ops
from references import multitask

from kexue_keras.training.gram_matrix import LIMIT, check_indices, smallest_combination


def test_tasks_that_are_not_present_have_no_weight():
    gram = gram_matrices(4, 1)[0]
    for main in ([0], [1, 3], [0, 1, 2, 3]):
        present = np.array([True, False, True, True])
        kept = [i for i in main if present[i]]
        found = to_numpy(smallest_combination(gram, main, ops.convert_to_tensor(present)))
        positions = [list(np.flatnonzero(present)).index(i) for i in kept]
        expected = multitask.mixed(gram[np.ix_(present, present)], positions)
        np.testing.assert_allclose(found[present], expected, atol=1e-5)
        assert found[1] == 0
    none = smallest_combination(gram, [1], ops.convert_to_tensor(np.arange(4) != 1))
    np.testing.assert_array_equal(to_numpy(none), np.zeros(4))


def test_a_zero_gradient_that_is_present_is_the_smallest_combination():
    gram = np.diag([1.0, 0.0, 4.0]).astype("float32")
    np.testing.assert_array_equal(to_numpy(smallest_combination(gram, range(3))), [0, 1, 0])
    zeros = to_numpy(smallest_combination(np.zeros((2, 2), "float32"), [0, 1]))
    np.testing.assert_array_equal(zeros, [1, 0])


def test_float64_stays():
    gram = gram_matrices(5, 1)[0].astype("float64")
    found = smallest_combination(gram, range(5))
    if keras.backend.standardize_dtype(found.dtype) != "float64":
        pytest.skip("this backend computes in float32")
    assert violation(gram, to_numpy(found), range(5)) < 1e-14
    assert "float32" in str(smallest_combination(gram.astype("float16"), [0]).dtype)


def test_what_is_no_gram_matrix():
    for shape in ((2, 3), (4,), (0, 0)):
        with pytest.raises(ValueError, match=r"must be of shape \(n, n\). Received: shape"):
            smallest_combination(np.zeros(shape), [0])
    with pytest.raises(ValueError, match=f"at most {LIMIT} tasks. Received: 9"):
        smallest_combination(np.eye(9), [0])


@pytest.mark.parametrize("main", [[3], [-1], [], ["a"], [True], [1.0]])
def test_bad_indices(main):
    with pytest.raises(ValueError, match="`main` must be indices of 3 tasks.*Received: "):
        check_indices(main, 3)
    with pytest.raises(ValueError, match=r"every index once. Received: \[1, 1\]"):
        check_indices([1, 1], 3)
