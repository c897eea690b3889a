"""An optimizer around another one, which by itself changes nothing."""

import keras
import numpy as np
import pytest
from contract import to_numpy

from kexue_keras.optimizers.optimizer_wrapper import OptimizerWrapper


@keras.saving.register_keras_serializable(package="tests")
class Around(OptimizerWrapper):
    """With nothing of its own."""


def fit(optimizer):
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.set_weights([rng.normal(size=(3, 2)), np.zeros(2)])
    model.compile(optimizer, "mse")
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return model


def test_training_is_that_of_the_optimizer_inside():
    expected, found = (fit(o) for o in (keras.optimizers.Adam(0.1), Around("adam")))
    found.optimizer.learning_rate = 0.1
    assert float(to_numpy(found.optimizer.iterations)) == 4
    found = fit(Around(keras.optimizers.Adam(0.1)))
    for x, y in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_config_and_errors():
    again = Around.from_config(Around(keras.optimizers.SGD(0.5), name="around").get_config())
    assert again.name == "around" and float(to_numpy(again.learning_rate)) == 0.5
    with pytest.raises(ValueError, match=r"`LossScaleOptimizer\(Around\(...\)\)`. Received"):
        Around(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()))
    with pytest.raises(ValueError, match="`trainable_variables` must be given"):
        Around("sgd").apply([np.ones(1)])
