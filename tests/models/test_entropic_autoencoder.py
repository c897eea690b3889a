"""The entropic autoencoder: loss, metrics, codes of variance 1, samples, conditions, files."""

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
from references import generative as reference

from kexue_keras.models import EntropicAutoencoder


def model(**arguments):
    keras.utils.set_random_seed(0)
    conditional = arguments.get("conditional", False)
    return EntropicAutoencoder(encoder(1, conditional), decoder(conditional), **arguments)


def parts(eae, x):
    """Codes before normalization, and the decoder as a function, in NumPy."""
    code = reference.dense(x, [w.astype("float64") for w in weights(eae.encoder)])
    decoding = [w.astype("float64") for w in weights(eae.decoder)]
    return code, lambda z: 1 / (1 + np.exp(-reference.dense(z, decoding)))


def expected_of(eae, code, entropy_weight, k):
    _, decode = parts(eae, X)
    found = {"reconstruction": ((X - decode(code)) ** 2).sum(1).mean()}
    found["entropy"] = reference.knn_entropy(code, k)
    return found | {"loss": found["reconstruction"] - entropy_weight * found["entropy"]}


@pytest.mark.parametrize("k", [1, 3])
def test_the_loss_equals_the_formula(k):
    """In training with the batch's mean and variance, else with the moving ones."""
    eae = compiled(model(entropy_weight=0.4, k=k), rate=0.0)
    contract.perturb(eae)
    code, _ = parts(eae, X)
    normal = (code - code.mean(0)) / code.std(0)
    history = eae.fit(X, batch_size=40, verbose=0).history
    found = {name: values[0] for name, values in history.items()}
    assert found == pytest.approx(expected_of(eae, normal, 0.4, k), rel=1e-4, abs=1e-4)
    mean, variance = 0.01 * code.mean(0), 0.99 + 0.01 * code.var(0)
    normal = (code - mean) / np.sqrt(variance)
    np.testing.assert_allclose(eae.encode(X), normal, atol=1e-4)
    found = eae.evaluate(X, batch_size=40, verbose=0, return_dict=True)
    assert found == pytest.approx(expected_of(eae, normal, 0.4, k), rel=1e-3)


def test_the_entropy_spreads_codes_out():
    """Two heaps of samples become as wide as what is between them."""
    heaps = np.repeat([[0.0], [1.0]], 20, axis=0) + 0.05 * np.random.default_rng(0).normal(
        size=(40, 6)
    )
    heaps = heaps[np.random.default_rng(1).permutation(40)].astype("float32")
    entropies = {}
    for entropy_weight in (0.0, 1.0):
        eae = compiled(model(entropy_weight=entropy_weight))
        history = fit_long(eae, heaps)
        entropies[entropy_weight] = history["entropy"]
        code = eae(heaps, training=True)["code"]
        np.testing.assert_allclose(np.mean(code, axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(np.var(code, axis=0), 1, atol=1e-2)
    assert entropies[1.0][-1] > entropies[1.0][0] + 0.5
    assert entropies[1.0][-1] > entropies[0.0][-1] + 0.5


def test_samples():
    check_sampling(model())


def test_a_condition():
    check_conditions(model(conditional=True))


def test_saved_and_resumed(tmp_path):
    check_resumed(compiled(model(momentum=0.9)), tmp_path / "model.keras")
    contract.check_config(model(reconstruction="bce", entropy_weight=0.5, k=2, momentum=0.5))


def test_mixed_precision_is_close_and_trains():
    eae = model()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = compiled(model())
    finally:
        keras.config.set_dtype_policy(policy)
    half.set_weights(eae.get_weights())
    expected = compiled(eae).evaluate(X, verbose=0, return_dict=True)
    found = half.evaluate(X, verbose=0, return_dict=True)
    # near codes of half precision are rounded
    assert found == pytest.approx(expected, rel=2e-2, abs=5e-2)
    history = fit_long(half)
    assert history["loss"][-1] < history["loss"][0]
    assert half.encode(X).dtype == np.float32


def test_errors():
    with pytest.raises(ValueError, match="`entropy_weight` must not be negative. Received: -1"):
        model(entropy_weight=-1)
    with pytest.raises(ValueError, match="`k` must be a positive integer. Received: 0"):
        model(k=0)
    with pytest.raises(ValueError, match="`encoder` must have 1 inputs and 1 outputs. Received: 1"):
        EntropicAutoencoder(encoder(2), decoder())
    if keras.backend.backend() == "jax":  # knows the size of a batch beforehand
        with pytest.raises(ValueError, match="`k` must be less than the number of samples"):
            compiled(model(k=50)).fit(X, batch_size=40, verbose=0)
    check_usage_errors(compiled(model()))
