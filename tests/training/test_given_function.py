"""Functions in configs."""

import json

import keras
import pytest

from kexue_keras.training.given_function import config_of_function, given_function


@keras.saving.register_keras_serializable(package="tests")
def registered(y_true, sampled):
    return y_true == sampled


def test_a_registered_function_is_its_name():
    config = config_of_function(registered, "reward")
    assert config == "tests>registered" and given_function(config, "reward") is registered


def test_an_object_is_its_config():
    loss = keras.losses.MeanSquaredError(name="mine")
    config = json.loads(json.dumps(config_of_function(loss, "objective")))
    assert given_function(config, "objective").name == "mine"


def test_what_cannot_be_found_again():
    for function in (lambda y, p: y, len, keras.losses.MeanSquaredError, object()):
        with pytest.raises(ValueError, match="`reward` must be registered with.*Received"):
            config_of_function(function, "reward")


@pytest.mark.parametrize("function", ["tests>no_such", 3, None])
def test_no_functions(function):
    with pytest.raises(ValueError, match=f"`reward` must be a callable.*Received: {function!r}"):
        given_function(function, "reward")
