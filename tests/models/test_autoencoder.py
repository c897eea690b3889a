"""What both autoencoders have, with other shapes; more in the tests of each."""

import keras
import numpy as np
import pytest
from autoencoder_models import X

from kexue_keras.models import EntropicAutoencoder, VariationalAutoencoder
from kexue_keras.models.autoencoder import Autoencoder


def images(outputs):
    """A convolutional encoder and a decoder of 4 x 4 images."""
    x = keras.Input((4, 4, 1))
    h = keras.layers.Flatten()(keras.layers.Conv2D(3, 3, activation="relu")(x))
    heads = [keras.layers.Dense(2)(h) for _ in range(outputs)]
    part = keras.Sequential([keras.Input((2,)), keras.layers.Dense(16)])
    part.add(keras.layers.Reshape((4, 4, 1)))
    return keras.Model(x, heads if outputs > 1 else heads[0]), part


@pytest.mark.parametrize("kind", [VariationalAutoencoder, EntropicAutoencoder])
def test_images_of_any_encoder_and_decoder(kind, tmp_path):
    model = kind(*images(2 if kind is VariationalAutoencoder else 1))
    model.compile("adam")
    pictures = np.random.default_rng(0).uniform(size=(12, 4, 4, 1)).astype("float32")
    history = model.fit(pictures, batch_size=6, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert model.sample(3, seed=0).shape == (3, 4, 4, 1)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    expected, found = (part.predict(pictures, verbose=0) for part in (model, reloaded))
    np.testing.assert_allclose(found["reconstruction"], expected["reconstruction"], atol=1e-5)


def test_reconstruction_losses_are_sums_over_a_sample():
    model = VariationalAutoencoder(*images(2))
    x, y = X[:, :6].reshape(10, 4, 6), X[::-1].reshape(10, 4, 6)
    found = np.asarray(model.reconstruction_loss(x, y))
    np.testing.assert_allclose(found, ((x - y) ** 2).sum((1, 2)), rtol=1e-5)
    model.reconstruction = "bce"
    found = np.asarray(model.reconstruction_loss(x, y))
    expected = -(x * np.log(y) + (1 - x) * np.log(1 - y)).sum((1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_subclass_has_its_own_penalty():
    with pytest.raises(NotImplementedError):
        Autoencoder(*images(1)).penalty({})
