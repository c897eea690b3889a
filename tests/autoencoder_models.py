"""Small encoders and decoders, data, and what both autoencoders are asked in tests."""

import keras
import numpy as np
import pytest
from contract import to_numpy

from kexue_keras import backend

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(40, 6)).astype("float32")
LABELS = np.eye(3, dtype="float32")[RNG.integers(0, 3, 40)]


def encoder(outputs, conditional=False, size=2, **arguments):
    inputs = [keras.Input((6,))] + ([keras.Input((3,))] if conditional else [])
    x = keras.layers.Concatenate()(inputs) if conditional else inputs[0]
    x = keras.layers.Dense(5, activation="tanh", **arguments)(x)
    heads = [keras.layers.Dense(size)(x) for _ in range(outputs)]
    return keras.Model(inputs if conditional else inputs[0], heads if outputs > 1 else heads[0])


def decoder(conditional=False, size=2, numbers=6):
    inputs = [keras.Input((size,))] + ([keras.Input((3,))] if conditional else [])
    x = keras.layers.Concatenate()(inputs) if conditional else inputs[0]
    x = keras.layers.Dense(4, activation="tanh")(x)
    x = keras.layers.Dense(numbers, activation="sigmoid")(x)
    return keras.Model(inputs if conditional else inputs[0], x)


def compiled(model, rate=0.02):
    model.compile(keras.optimizers.Adam(rate), jit_compile=backend.train_with_xla())
    return model


def fit(model, epochs, x=X, initial_epoch=0):
    arguments = {"batch_size": 20, "shuffle": False, "verbose": 0}
    return model.fit(x, epochs=epochs, initial_epoch=initial_epoch, **arguments).history


def fit_long(model, x=X):
    """Two epochs of 40 steps, as programs of one epoch each are quick to start."""
    return fit(model, 2, np.tile(x, (20, 1)))


def weights(model):
    return [to_numpy(w.value) for w in model.weights]


def check_resumed(model, path):
    """Saved after two epochs and loaded, it goes on as if it had never stopped."""
    fit(model, 2)
    model.save(path)
    expected = fit(model, 4, initial_epoch=2)
    reloaded = keras.saving.load_model(path)
    assert type(reloaded) is type(model)
    found = fit(reloaded, 4, initial_epoch=2)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)
    for a, b in zip(weights(reloaded), weights(model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(reloaded.sample(3, seed=1), model.sample(3, seed=1), atol=1e-6)


def check_sampling(model):
    """Seeds, numbers, codes and conditions of an unconditional model."""
    found = model.sample(5, seed=1)
    assert found.shape == (5, 6) and isinstance(found, np.ndarray)
    np.testing.assert_array_equal(model.sample(5, seed=1), found)
    assert np.abs(model.sample(5, seed=2) - found).max() > 1e-4
    assert np.abs(model.sample(5) - model.sample(5)).max() > 1e-4
    codes = np.random.default_rng(1).standard_normal((5, 2), "float32")
    expected = to_numpy(model.decoder(codes))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(model.decode(codes), expected, atol=1e-6)
    np.testing.assert_allclose(model.decode(codes, batch_size=2), expected, atol=1e-6)
    with pytest.raises(ValueError, match="`condition` must be None. Received: 5 conditions"):
        model.sample(5, condition=LABELS[:5])


def check_conditions(model):
    """Samples of a conditional model depend on the condition and on nothing else but the code."""
    compiled(model)
    history = fit(model, 2, [X, LABELS])
    assert history["loss"][1] < history["loss"][0]
    kinds = [model.sample(4, np.tile(np.eye(3)[i], (4, 1)), seed=1) for i in (0, 1, 0)]
    np.testing.assert_array_equal(kinds[0], kinds[2])
    assert np.abs(kinds[0] - kinds[1]).max() > 1e-4
    assert model.encode(X, LABELS).shape == (40, 2)
    with pytest.raises(ValueError, match="`condition` must be 4 conditions. Received: None"):
        model.sample(4)
    with pytest.raises(ValueError, match="`condition` must be 4 conditions. Received: 3 cond"):
        model.sample(4, LABELS[:3])
    with pytest.raises(ValueError, match=r"`x` must be `\[x, condition\]`. Received: 1 tensors"):
        model(X)


def check_usage_errors(model):
    """What `compile` and `fit` refuse."""
    model.compile("sgd", run_eagerly=keras.backend.backend() == "tensorflow")
    with pytest.raises(ValueError, match=r"`y` must be None: .* Received: shape \(32, 6\)"):
        model.fit(X, X, verbose=0)
    with pytest.raises(ValueError, match="`sample_weight` is not supported"):
        model.compute_loss(X, None, {}, np.ones(40))
    model.compile("sgd", "mse", run_eagerly=keras.backend.backend() == "tensorflow")
    with pytest.raises(ValueError, match="`loss` of `compile` must be None.*Received: 'mse'"):
        model.fit(X, verbose=0)
