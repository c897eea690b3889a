"""Names of variables in tables of families."""

import pytest

from kexue_keras.models.checkpoints.names import Transposed, of_attention, of_dense, of_norm

pytestmark = pytest.mark.once


def test_names():
    assert of_dense("a", "b") == ["a/kernel", "a/bias", "b/kernel", "b/bias"]
    assert of_norm("n") == ["n/beta", "n/gamma"]
    assert of_attention("self", "out")[-3:] == ["self/value/bias", "out/kernel", "out/bias"]
    assert Transposed("x") == "x" and isinstance(Transposed("x"), str)
