"""What every optimizer is put through, and steps with given gradients."""

import keras
import numpy as np
from contract import check_config, check_serialization, to_numpy
from strategy_models import adversarial, bag_of_words, compiled, fit, numpy_weights

from kexue_keras import backend

OPTIONS = {"jit_compile": backend.train_with_xla()}


def check_optimizer(make, tmp_path):
    """Config and registration, resuming, mixed precision, inside a strategy.

    Args:
        make: callable without arguments, returns a new optimizer that learns within a few steps.
        tmp_path: directory for files.
    """
    check_config(make())
    check_serialization(make())
    check_resuming(make, tmp_path)
    check_mixed_precision(make)
    check_strategy(make)


def check_resuming(make, tmp_path):
    """Interrupted in the middle of training and reloaded equals undisturbed, slots included."""
    model = compiled(bag_of_words(), make(), **OPTIONS)
    fit(model, epochs=2)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.saving.load_model(path)
    assert type(again.optimizer) is type(model.optimizer)
    assert_same(again, model)
    assert fit(again, epochs=2) == fit(model, epochs=2)
    assert_same(again, model)
    assert int(again.optimizer.iterations) == 8


def assert_same(model, other):
    pairs = [(model.variables, other.variables)]
    pairs.append((model.optimizer.variables, other.optimizer.variables))
    for found, expected in pairs:
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_array_equal(to_numpy(x.value), to_numpy(y.value), err_msg=y.path)


def check_mixed_precision(make):
    """A loss scale that overflows skips the step; afterwards it learns what float32 learns."""
    plain = bag_of_words()
    expected = fit(compiled(plain, make(), **OPTIONS), epochs=4)["loss"]
    model = bag_of_words(dtype="mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(make(), initial_scale=2.0**100)
    compiled(model, optimizer, **OPTIONS)
    before = numpy_weights(model)
    fit(model, epochs=1)
    for x, y in zip(numpy_weights(model), before, strict=True):
        np.testing.assert_array_equal(x, y)
    assert int(optimizer.iterations) == 0
    optimizer.dynamic_scale.assign(2.0**10)
    history = fit(model, epochs=4)["loss"]
    assert expected[-1] < expected[0]
    np.testing.assert_allclose(history, expected, rtol=2e-2)
    assert int(optimizer.iterations) == 8


def check_strategy(make):
    """It trains what adversarial training hands it."""
    strategy = compiled(adversarial(bag_of_words(), epsilon=0.1), make(), **OPTIONS)
    losses = fit(strategy, epochs=4)["loss"]
    assert losses[-1] < losses[0]


def steps(optimizer, variables, gradients):
    """Applies gradients step by step, compiled.

    Args:
        optimizer: an optimizer.
        variables: list of `keras.Variable`.
        gradients: for each step a list of arrays, or a callable of the values of the weights now
            that returns one.

    Returns:
        The values of the weights after each step, a list of lists of float64 arrays.
    """
    optimizer.build(variables)
    if keras.backend.backend() == "jax":
        import jax

        update = jax.jit(optimizer.stateless_apply)

        def apply(found):
            state = [v.value for v in optimizer.variables], [v.value for v in variables]
            new_values, new_state = update(state[0], found, state[1])
            pairs = zip([*variables, *optimizer.variables], [*new_values, *new_state], strict=True)
            for variable, value in pairs:
                variable.assign(value)
    else:
        import tensorflow as tf

        apply = tf.function(lambda found: optimizer.apply(found, variables))

    def values():
        return [to_numpy(v.value).astype("float64") for v in variables]

    path = []
    for found in gradients:
        found = found(values()) if callable(found) else found
        dtypes = [keras.backend.standardize_dtype(v.dtype) for v in variables]
        apply([keras.ops.cast(g, d) for g, d in zip(found, dtypes, strict=True)])
        path.append(values())
    return path


def variables_of(values, dtype="float32"):
    return [keras.Variable(np.asarray(v), dtype=dtype, name=f"w{i}") for i, v in enumerate(values)]


def assert_path(found, expected, rtol=1e-5, atol=1e-6):
    """Compares what `steps` returned with such a list."""
    assert len(found) == len(expected)
    for i, (x, y) in enumerate(zip(found, expected, strict=True)):
        for a, b in zip(x, y, strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=f"after step {i + 1}")
