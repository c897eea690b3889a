"""bert4keras's extensions: their formulas, their order, their configs."""

import json

import keras
import numpy as np
import pytest
from optimizer_runs import assert_path, steps, variables_of

from kexue_keras.compat import optimizers
from kexue_keras.optimizers import LearningRateMultipliers

RNG = np.random.default_rng(0)
START = [RNG.normal(size=(3, 4)), RNG.normal(size=5)]
GRADIENTS = [[RNG.normal(size=x.shape) for x in START] for _ in range(6)]
RATE = 0.1


def adam(gradients, start, bias_correction=True, epsilon=1e-6, changed=lambda x, y, t, i: y):
    """Adam as bert4keras writes it, float64; `changed` says what becomes of a step."""
    weights, m, v, path = list(start), [0.0] * 2, [0.0] * 2, []
    for t, found in enumerate(gradients, 1):
        for i, g in enumerate(found):
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g * g
            one, two = (1 - 0.9**t, 1 - 0.999**t) if bias_correction else (1, 1)
            step = RATE * (m[i] / one) / (np.sqrt(v[i] / two) + epsilon)
            weights[i] = changed(weights[i], weights[i] - step, t, i)
        path.append(list(weights))
    return path


@pytest.mark.parametrize("bias_correction", [True, False])
@pytest.mark.parametrize("epsilon", [1e-6, 1.0])
def test_adam(bias_correction, epsilon):
    optimizer = optimizers.Adam(RATE, bias_correction=bias_correction, epsilon=epsilon)
    found = steps(optimizer, variables_of(START), GRADIENTS)
    assert_path(found, adam(GRADIENTS, START, bias_correction, epsilon), rtol=1e-4, atol=1e-5)


def check(extend, changed, **options):
    optimizer = extend(optimizers.Adam)(learning_rate=RATE, **options)
    found = steps(optimizer, variables_of(START), GRADIENTS)
    assert_path(found, adam(GRADIENTS, START, changed=changed), rtol=1e-4, atol=1e-5)
    config = json.loads(json.dumps(optimizer.get_config()))
    again = type(optimizer).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is type(optimizer)


def test_weight_decay():
    check(
        optimizers.extend_with_weight_decay,
        lambda x, y, t, i: y - RATE * 0.2 * x * (i == 0),
        weight_decay_rate=0.2,
        exclude_from_weight_decay=["w1"],
    )


def test_layer_adaptation_around_weight_decay():
    """LAMB, where the decay counts in the ratio of norms."""

    def changed(x, y, t, i):
        step = y - RATE * 0.2 * x - x
        return x + step * np.linalg.norm(x) / np.linalg.norm(step / RATE) if i == 0 else x + step

    def extend(base):
        decayed = optimizers.extend_with_weight_decay(base)
        return optimizers.extend_with_layer_adaptation(decayed, name="Lamb")

    check(extend, changed, weight_decay_rate=0.2, exclude_from_layer_adaptation=["w1"])
    assert extend(optimizers.Adam).__name__ == "Lamb"


def test_the_order_of_extensions_counts():
    """The other way round the decay is not adapted."""

    def changed(x, y, t, i):
        return x + (y - x) * np.linalg.norm(x) / np.linalg.norm((y - x) / RATE) - RATE * 0.2 * x

    def extend(base):
        return optimizers.extend_with_weight_decay(optimizers.extend_with_layer_adaptation(base))

    check(extend, changed, weight_decay_rate=0.2)


def test_piecewise_linear_rates():
    factors = [0, 0.5, 1, 0.75, 0.5, 0.5]
    check(
        optimizers.extend_with_piecewise_linear_lr,
        lambda x, y, t, i: x + factors[t - 1] * (y - x),
        lr_schedule={2: 1, 4: 0.5},
    )
    positional = optimizers.extend_with_piecewise_linear_lr(optimizers.Adam)(0.2)
    assert positional.get_config()["learning_rate"] == 0.2
    default = optimizers.extend_with_piecewise_linear_lr(optimizers.Lion)()
    assert default.get_config()["learning_rate"] == 3e-4


def test_parameter_wise_rates_are_those_of_the_multipliers():
    schedule = {"w": 3, "w1": 0.1}
    check(
        optimizers.extend_with_parameter_wise_lr,
        lambda x, y, t, i: x + (0.3 if i else 3) * (y - x),
        paramwise_lr_schedule=schedule,
    )
    extended = optimizers.extend_with_parameter_wise_lr(optimizers.Adam)
    one = extended(learning_rate=RATE, paramwise_lr_schedule=schedule)
    other = LearningRateMultipliers(optimizers.Adam(RATE), schedule)
    found = [steps(each, variables_of(START), GRADIENTS) for each in (one, other)]
    assert_path(*found)


def test_lookahead():
    """Begins at the weights, where bert4keras begins at zero."""
    slow = {}

    def changed(x, y, t, i):
        slow.setdefault(i, x)
        if t % 2:
            return y
        slow[i] = slow[i] + 0.5 * (y - slow[i])
        return slow[i]

    check(optimizers.extend_with_lookahead, changed, steps_per_slow_update=2)


def test_lazy_optimization():
    gradients = [[g.copy() for g in found] for found in GRADIENTS]
    for found in gradients[1:]:
        found[0][1] = 0
    extended = optimizers.extend_with_lazy_optimization(optimizers.Adam)
    optimizer = extended(learning_rate=RATE, include_in_lazy_optimization=["w0"])
    found = steps(optimizer, variables_of(START), gradients)

    def changed(x, y, t, i):
        return np.where(np.arange(3)[:, None] == 1, x, y) if t > 1 and i == 0 else y

    assert_path(found, adam(gradients, START, changed=changed), rtol=1e-4, atol=1e-5)


def test_accumulated_gradients():
    """An update at every second step, by the mean."""
    extended = optimizers.extend_with_gradient_accumulation(optimizers.Adam)
    found = steps(extended(learning_rate=RATE, grad_accum_steps=2), variables_of(START), GRADIENTS)
    pairs = zip(GRADIENTS[::2], GRADIENTS[1::2], strict=True)
    means = [[(x + y) / 2 for x, y in zip(a, b, strict=True)] for a, b in pairs]
    assert_path(found[1::2], adam(means, START), rtol=1e-3, atol=1e-4)
    assert_path(found[2::2], found[1:-1:2])
    assert extended(grad_accum_steps=1).gradient_accumulation_steps is None


def test_averages():
    extended = optimizers.extend_with_exponential_moving_average(optimizers.Adam, name="AdamEMA")
    optimizer, variables = extended(learning_rate=RATE, ema_momentum=0.5), variables_of(START)
    path = steps(optimizer, variables, GRADIENTS)
    assert_path(path, adam(GRADIENTS, START), rtol=1e-4, atol=1e-5)
    average = path[0]
    for values in path[1:]:
        average = [0.5 * x + 0.5 * y for x, y in zip(average, values, strict=True)]
    for values, change in ((average, optimizer.apply_ema_weights),
                           (path[-1], optimizer.reset_old_weights)):  # fmt: skip
        change()
        for variable, value in zip(variables, values, strict=True):
            np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-6)
    optimizer.finalize_variable_values(variables)
    np.testing.assert_allclose(variables[0].numpy(), path[-1][0], rtol=1e-6)


def test_lion():
    (first,) = steps(optimizers.Lion(), variables_of(START), GRADIENTS[:1])
    for x, y, g in zip(first, START, GRADIENTS[0], strict=True):
        np.testing.assert_allclose(x, y - 3e-4 * np.sign(g), rtol=1e-5, atol=1e-6)
