"""The result of integrated gradients."""

import numpy as np
import pytest

from kexue_keras import analysis

pytestmark = pytest.mark.once


def test_fields_have_names():
    found = analysis.Attributions(np.ones((2, 3)), None, np.ones((2, 3)), np.ones(2), np.zeros(2))
    attributions, tokens, gradients, difference, error = found
    assert attributions is found.attributions and tokens is found.tokens is None
    assert found.gradients is gradients and found.difference is difference and found.error is error
