"""What is set for the process; its effect is in test_models.py."""

import pytest

from kexue_keras.compat.settings import SETTINGS, set_gelu

pytestmark = pytest.mark.once


def test_versions_of_gelu():
    set_gelu("TANH")
    assert SETTINGS["gelu"] == "tanh"
    set_gelu("erf")
    with pytest.raises(ValueError, match="Received: None"):
        set_gelu(None)
