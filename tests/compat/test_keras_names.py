"""`keras` of bert4keras.backend."""

import keras
import pytest

from kexue_keras.compat import keras_models, keras_names

pytestmark = pytest.mark.once


def test_it_is_keras_but_for_its_models():
    assert keras_names.layers is keras.layers and keras_names.__version__ == keras.__version__
    assert keras_names.models is keras_models and "callbacks" in dir(keras_names)
