"""File names of saved models; see also test_models.py."""

import keras
import pytest

from kexue_keras.compat import keras_models

pytestmark = pytest.mark.once


def test_names_and_their_notice():
    assert keras_models.file_of("a.keras") == "a.keras"
    with pytest.warns(UserWarning, match="Keras 3 saves a.model as a.model.keras"):
        assert keras_models.file_of("a.model") == "a.model.keras"
    assert keras_models.Model is keras.Model and "Model" in dir(keras_models)
