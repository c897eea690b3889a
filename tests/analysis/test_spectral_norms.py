"""Spectral norms against singular values, of every size and gap."""

import numpy as np
import pytest
from contract import to_numpy

from kexue_keras.analysis import spectral_norms

RNG = np.random.default_rng(0)


def norms(matrices):
    return np.linalg.norm(matrices.astype("float64"), 2, axis=(-2, -1))


@pytest.mark.parametrize("shape", [(7, 5, 3), (7, 3, 5), (2, 3, 40, 40), (1, 1), (4, 1, 9)])
def test_equal_to_the_largest_singular_value(shape):
    matrices = RNG.normal(size=shape).astype("float32")
    np.testing.assert_allclose(to_numpy(spectral_norms(matrices)), norms(matrices), rtol=3e-6)


@pytest.mark.parametrize("gap", [0.0, 1e-7, 1e-5, 1e-3])
def test_close_singular_values(gap):
    """Power iteration would stop between them."""
    u, v = (np.linalg.qr(RNG.normal(size=(64, 64)))[0] for _ in range(2))
    values = 3 * (1 - gap * np.arange(64))
    matrix = (u * values @ v).astype("float32")
    np.testing.assert_allclose(to_numpy(spectral_norms(matrix)), norms(matrix), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-35, 1e-20, 1e20, 1e35])
def test_sizes_whose_squares_float32_does_not_have(scale):
    matrix = (RNG.normal(size=(6, 4)) * scale).astype("float32")
    np.testing.assert_allclose(to_numpy(spectral_norms(matrix)), norms(matrix), rtol=3e-6)


def test_zeros_rank_one_and_what_is_not_finite():
    line = np.outer(np.arange(3), np.ones(4))
    found = to_numpy(spectral_norms(np.stack([np.zeros((3, 4)), line]).astype("float32")))
    np.testing.assert_allclose(found, [0, np.sqrt(20)], rtol=1e-6)
    broken = np.array([[[1, np.nan], [0, 1]], [[1, np.inf], [0, 1]]], "float32")
    assert np.isnan(to_numpy(spectral_norms(broken))).all()


def test_half_precision_is_computed_in_float32():
    matrix = np.full((200, 200), 200, "float16")
    assert float(spectral_norms(matrix)) == pytest.approx(40000, rel=1e-5)


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match="`matrices` must have at least two axes"):
        spectral_norms(np.ones(3))
