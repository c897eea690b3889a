"""Steps multiplied by the factor of a weight, whatever the optimizer, and what is around."""

import keras
import numpy as np
import pytest
from contract import check_config, check_serialization
from optimizer_runs import assert_path, check_optimizer, steps, variables_of
from two_devices import run_on_two_devices

from kexue_keras.optimizers import AdaFactor, LearningRateMultipliers

RNG = np.random.default_rng(0)
START = [RNG.normal(size=(3, 4)), RNG.normal(size=5), RNG.normal(size=5)]
GRADIENTS = [[RNG.normal(size=x.shape) for x in START] for _ in range(6)]
FACTORS = [1, 10, 0.5]


def wrapped(optimizer):
    return LearningRateMultipliers(optimizer, {"w1": 20, "w[12]": 0.5})


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.Adam(0.01, weight_decay=0.1),
        lambda: keras.optimizers.SGD(0.01, momentum=0.9),
        lambda: AdaFactor(0.01, multiply_by_parameter_scale=False),
        lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    ],
    ids=["adam", "momentum", "adafactor", "accumulated"],
)
def test_each_step_is_that_of_the_optimizer_times_the_factor(make):
    """The optimizers' slots do not depend on the weights, so each step can be compared alone."""
    found = steps(wrapped(make()), variables_of(START), GRADIENTS)
    before, alone, expected = START, [], []
    optimizer, variables = make(), variables_of(START)
    for gradients, after in zip(GRADIENTS, found, strict=True):
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        (step,) = steps(optimizer, variables, [gradients])
        alone.append(step)
        moves = zip(before, step, FACTORS, strict=True)
        expected.append([x + f * (y - x) for x, y, f in moves])
        before = after
    assert_path(found, expected, rtol=1e-5, atol=2e-6)
    assert np.abs(found[-1][1] - START[1]).max() > 1e-3


def test_decay_is_multiplied_too():
    optimizer = wrapped(keras.optimizers.SGD(0.1, weight_decay=0.5))
    zero = [[np.zeros_like(x) for x in START]]
    (found,) = steps(optimizer, variables_of(START), zero)
    for x, y, factor in zip(found, START, FACTORS, strict=True):
        np.testing.assert_allclose(x, y * (1 - 0.05 * factor), rtol=1e-5)


def test_a_factor_of_zero_keeps_a_weight():
    optimizer = LearningRateMultipliers(keras.optimizers.Adam(0.1), {"w0": 0})
    found = steps(optimizer, variables_of(START), GRADIENTS)[-1]
    np.testing.assert_array_equal(found[0], START[0].astype("float32"))
    assert np.abs(found[1] - START[1]).min() > 0


def test_contract(tmp_path):
    def make():
        schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 20)
        return LearningRateMultipliers(
            keras.optimizers.Adam(schedule), {"embeddings": 2, "words|bias": 0.7}
        )

    check_optimizer(make, tmp_path)
    check_config(make())
    assert check_serialization(make()).multipliers == {"embeddings": 2, "words|bias": 0.7}


def test_the_learning_rate_is_the_optimizer_s():
    optimizer = wrapped(keras.optimizers.SGD(0.1))
    optimizer.learning_rate = 0.3
    assert float(optimizer.learning_rate) == pytest.approx(0.3)


@pytest.mark.once
def test_two_devices():
    program = """
import numpy as np
from kexue_keras.optimizers import LearningRateMultipliers

def run(strategy):
    with strategy.scope():
        model = keras.Sequential([keras.Input((3,)),
            keras.layers.Dense(4, name="low"),
            keras.layers.Dense(1)])
        values = np.random.default_rng(0)
        model.set_weights([values.normal(size=w.shape) for w in model.weights])
        adam = keras.optimizers.Adam(0.1)
        model.compile(LearningRateMultipliers(adam, {"low": 3}), "mse")
    x = np.random.default_rng(1).normal(size=(8, 3)).astype("float32")
    model.fit(x, x[:, :1], batch_size=8, epochs=3, verbose=0, shuffle=False)
    return [w.tolist() for w in model.get_weights()]

one = run(tf.distribute.OneDeviceStrategy("CPU:0"))
two = run(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
print(json.dumps([one, two]))
"""
    one, two = run_on_two_devices(program)
    for x, y in zip(one, two, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: wrapped(keras.optimizers.SGD(0.1, use_ema=True)), "`use_ema`"),
        (lambda: wrapped(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())), "scaling"),
        (lambda: LearningRateMultipliers("sgd", {"a": -1}), "at least 0. Received: 'a': -1"),
        (
            lambda: LearningRateMultipliers("sgd", {"nowhere": 2}).build(variables_of([1.0])),
            "found in the path of a weight. Received: 'nowhere', and paths such as 'w0'",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
