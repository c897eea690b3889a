"""The variational autoencoder: loss, metrics, samples, ellipses, conditions, files, devices."""

import contract
import keras
import numpy as np
import pytest
from autoencoder_models import (
    X,
    check_conditions,
    check_resumed,
    check_sampling,
    check_usage_errors,
    compiled,
    decoder,
    encoder,
    fit_long,
    weights,
)
from contract import to_numpy
from references import generative as reference
from two_devices import run_on_two_devices

from kexue_keras.models import VariationalAutoencoder


def model(seed=1, **arguments):
    keras.utils.set_random_seed(0)
    conditional = arguments.get("conditional", False)
    parts = encoder(2, conditional), decoder(conditional)
    return VariationalAutoencoder(*parts, seed=seed, **arguments)


def parts(vae, x):
    """Mean, log variance and the decoder as a function, in NumPy."""
    kernels = [w.astype("float64") for w in weights(vae.encoder)]
    mean, log_variance = (reference.dense(x, kernels[:2] + kernels[i : i + 2]) for i in (2, 4))
    decoding = [w.astype("float64") for w in weights(vae.decoder)]
    return mean, log_variance, lambda z: 1 / (1 + np.exp(-reference.dense(z, decoding)))


@pytest.mark.parametrize("reconstruction", ["mse", "bce"])
def test_evaluate_equals_the_formula_at_the_mean(reconstruction):
    vae = compiled(model(reconstruction=reconstruction, weight=0.3))
    contract.perturb(vae)
    found = vae.evaluate(X, batch_size=15, verbose=0, return_dict=True)
    mean, log_variance, decode = parts(vae, X)
    y = decode(mean)
    each = (X - y) ** 2 if reconstruction == "mse" else -X * np.log(y) - (1 - X) * np.log(1 - y)
    kl = reference.divergence(mean, log_variance).mean()
    expected = {"reconstruction": each.sum(1).mean(), "kl": kl}
    expected["loss"] = expected["reconstruction"] + 0.3 * kl
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_step_follows_the_gradient_of_the_formula_at_the_drawn_code():
    """One step of gradient descent; the noise is read from what the layer draws."""
    vae = model(weight=0.3)
    contract.perturb(vae)
    before = weights(vae)
    mean, log_variance, decode = parts(vae, X)
    twin = model(weight=0.3)
    z = twin.sampling([mean.astype("f"), log_variance.astype("f")], training=True)
    noise = (to_numpy(z) - mean) / np.exp(log_variance / 2)
    vae.compile(keras.optimizers.SGD(1.0))
    history = vae.fit(X, batch_size=len(X), shuffle=False, verbose=0).history
    moves = [a - b for a, b in zip(before, weights(vae), strict=True)]

    def loss():
        mean, log_variance, decode = parts(vae, X)
        y = decode(mean + np.exp(log_variance / 2) * noise)
        return ((X - y) ** 2).sum(1).mean() + 0.3 * reference.divergence(mean, log_variance).mean()

    for variable, value in zip(vae.weights, before, strict=True):
        variable.assign(value)
    assert history["loss"][0] == pytest.approx(loss(), rel=1e-5)
    for variable, value, move in zip(vae.weights, before, moves, strict=True):
        direction = np.random.default_rng(1).normal(size=value.shape)
        ends = []
        for step in (1e-2, -1e-2):
            variable.assign(value + step * direction)
            ends.append(loss())
        variable.assign(value)
        expected = (ends[0] - ends[1]) / 2e-2
        assert (move * direction).sum() == pytest.approx(expected, rel=1e-2, abs=1e-3), (
            variable.path
        )


def test_training_lowers_the_loss_and_zero_weight_lets_the_ellipses_go():
    ellipses = {}
    for weight in (1.0, 0.0):
        vae = compiled(model(weight=weight))
        history = fit_long(vae)
        assert history["reconstruction"][-1] < history["reconstruction"][0]
        assert set(history) == {"loss", "reconstruction", "kl"}
        ellipses[weight] = vae.posterior(X)
    mean, deviation = ellipses[1.0]
    assert mean.shape == deviation.shape == (40, 2)
    # so little data on codes costs more than it gives: all ellipses are the unit circle
    assert np.abs(mean).max() < 0.5 and np.abs(deviation - 1).max() < 0.5
    assert ellipses[0.0][0].std() > 1 and ellipses[0.0][1].mean() < 0.5


def test_posterior_and_codes_are_the_outputs_of_the_encoder():
    vae = model()
    contract.perturb(vae)
    mean, log_variance, decode = parts(vae, X)
    np.testing.assert_allclose(vae.encode(X), mean, atol=1e-5)
    found = vae.posterior(X, batch_size=7)
    np.testing.assert_allclose(found[0], mean, atol=1e-5)
    np.testing.assert_allclose(found[1], np.exp(log_variance / 2), rtol=1e-4)
    outputs = vae.predict(X, verbose=0)
    np.testing.assert_allclose(outputs["reconstruction"], decode(mean), atol=1e-5)
    np.testing.assert_allclose(outputs["log_variance"], log_variance, atol=1e-5)


def test_samples():
    check_sampling(model())


def test_a_condition():
    check_conditions(model(conditional=True))


def test_saved_and_resumed(tmp_path):
    check_resumed(compiled(model()), tmp_path / "model.keras")
    contract.check_config(model(reconstruction="bce", weight=0.5, conditional=True))
    assert model().predict(X, verbose=0)["mean"].shape == (40, 2)


def test_regularizers_count():
    keras.utils.set_random_seed(0)
    part = encoder(2, kernel_regularizer=keras.regularizers.L2(10.0))
    vae = compiled(VariationalAutoencoder(part, decoder(), weight=0.5))
    found = vae.evaluate(X, verbose=0, return_dict=True)
    penalty = 10 * (weights(vae)[0] ** 2).sum()
    assert found["loss"] - found["reconstruction"] - 0.5 * found["kl"] == pytest.approx(
        penalty, rel=1e-4
    )


def test_mixed_precision_is_close_and_trains():
    vae = model()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = compiled(model())
    finally:
        keras.config.set_dtype_policy(policy)
    half.set_weights(vae.get_weights())
    expected = compiled(vae).evaluate(X, verbose=0, return_dict=True)
    found = half.evaluate(X, verbose=0, return_dict=True)
    assert found == pytest.approx(expected, rel=1e-2, abs=1e-2)
    history = fit_long(half)
    assert history["loss"][-1] < history["loss"][0]
    assert half.sample(3, seed=0).dtype == np.float16


def test_samples_may_be_drawn_during_training():
    drawn = []
    vae = compiled(model())
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: drawn.append(vae.sample(2, seed=0))
    )
    vae.fit(X, epochs=2, verbose=0, callbacks=[callback])
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-5
    np.testing.assert_allclose(vae.sample(2, seed=0), drawn[1], atol=1e-6)


DATA_PARALLEL = """
import numpy as np
from autoencoder_models import X, compiled, decoder, encoder, weights
from kexue_keras.models import VariationalAutoencoder

def run(devices):
    with tf.distribute.MirroredStrategy(devices).scope():
        keras.utils.set_random_seed(0)
        vae = VariationalAutoencoder(encoder(2), decoder(), weight=0.5)
        vae.sampling.call = lambda inputs, training=False: (
            type(vae.sampling).call(vae.sampling, inputs, training=False))
        vae.compile(keras.optimizers.SGD(0.1))
    history = vae.fit(X, epochs=3, batch_size=20, shuffle=False, verbose=0).history
    return [history["loss"], history["kl"], [float(abs(w).sum()) for w in weights(vae)]]

print(json.dumps([run(["CPU:0"]), run(["CPU:0", "CPU:1"])]))
"""


@pytest.mark.once
def test_two_devices_train_as_one():
    """Without noise, which every device draws for itself."""
    one, two = run_on_two_devices(DATA_PARALLEL)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4)


def test_errors():
    with pytest.raises(ValueError, match="`reconstruction` must be one of .* Received: 'mae'"):
        model(reconstruction="mae")
    with pytest.raises(ValueError, match="`weight` must not be negative. Received: -1"):
        model(weight=-1)
    with pytest.raises(ValueError, match="`encoder` must have 1 inputs and 2 outputs. Received: 1"):
        VariationalAutoencoder(encoder(1), decoder())
    with pytest.raises(ValueError, match="`decoder` must have 2 inputs and 1 outputs. Received: 1"):
        VariationalAutoencoder(encoder(2, conditional=True), decoder(), conditional=True)
    with pytest.raises(ValueError, match="`decoder` must be a functional .* Received: <"):
        VariationalAutoencoder(encoder(2), keras.Sequential([keras.layers.Dense(6)]))
    with pytest.raises(ValueError, match=r"`encoder` must give codes .*\(None, 2\), \(None, 3\)"):
        VariationalAutoencoder(encoder(2), decoder(size=3))
    wide = compiled(VariationalAutoencoder(encoder(2), decoder(numbers=5)))
    with pytest.raises(ValueError, match=r"`decoder` must give the shape of `x`. .*5\) for .*6\)"):
        wide.fit(X, verbose=0)
    check_usage_errors(compiled(model()))
