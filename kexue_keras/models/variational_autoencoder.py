"""The variational autoencoder: codes that are drawn, and held near a normal distribution."""

import keras
from keras import ops

from kexue_keras.layers.gaussian_sampling import GaussianSampling
from kexue_keras.models.autoencoder import Autoencoder, called


@keras.saving.register_keras_serializable(package="kexue_keras")
class VariationalAutoencoder(Autoencoder):
    r"""A generative model: codes from $N(0, I)$ are decoded into samples like those of training.

    Formula. Every sample $x$ is coded as an ellipse, $N(\mu(x), \sigma^2(x))$, from which $z$ is
    drawn; the loss is $\|x - D(z)\|^2$ (or the binary cross-entropy) plus `weight` times
    $\sum_j \frac{1}{2} (\mu_j^2 + \sigma_j^2 - \log \sigma_j^2 - 1)$, the mean over samples of
    both. In the article's picture: decoding must be right all over the ellipse, so that between
    neighbours there is no gap, and the second term pulls the ellipses towards the unit circle, so
    that together they fill what $N(0, I)$ draws from. With weight 0 the ellipses shrink to points
    wherever they like, and the model is an ordinary autoencoder.

    It is compiled without a loss and fitted without targets: `fit(x)`, or `fit([x, condition])`.
    Besides the loss, `fit` and `evaluate` report `reconstruction` and `kl`, which `weight` does not
    multiply; where nothing is trained, the mean is decoded, without noise. What regularizers and
    `add_loss` add counts, too.

    Args:
        encoder: `keras.Model` (functional, or Sequential with an `Input`) of `x` to two outputs
            `(batch, size)`, the mean and the logarithm of the variance.
        decoder: `keras.Model` likewise, of codes `(batch, size)` to the shape of `x`.
        reconstruction: "mse", the squared difference, or "bce", the binary cross-entropy of numbers
            from 0 to 1. Summed over a sample.
        weight: factor of the divergence, 0 or more.
        conditional: whether encoder and decoder take a condition as their second input: `[x,
            condition]` and `[code, condition]`.
        seed: int, for the draws; None takes one of Python's random generator. The state is saved.
        **kwargs: `name`, `trainable` and `dtype`.

    Input shape: `x`, floating `(batch, ...)`; conditional: list of it and the condition.

    Output shape: dict of `reconstruction` (the shape of `x`), `mean` and `log_variance` (`(batch,
    size)`). `sample`, `encode`, `posterior` and `decode` give NumPy arrays.

    Raises:
        ValueError: a bad argument; a loss is compiled; or targets or weights of samples are given.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import models
    >>> x = keras.Input((8,))
    >>> h = keras.layers.Dense(16, activation="relu")(x)
    >>> encoder = keras.Model(x, [keras.layers.Dense(2)(h), keras.layers.Dense(2)(h)])
    >>> decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8)])
    >>> vae = models.VariationalAutoencoder(encoder, decoder)
    >>> vae.compile("adam")
    >>> history = vae.fit(np.ones((32, 8), "float32"), verbose=0)
    >>> sorted(history.history), vae.sample(3).shape
    (['kl', 'loss', 'reconstruction'], (3, 8))

    Reference: https://kexue.fm/archives/7725; Kingma and Welling 2014,
    https://arxiv.org/abs/1312.6114
    """

    def __init__(
        self,
        encoder,
        decoder,
        reconstruction="mse",
        weight=1.0,
        conditional=False,
        seed=None,
        **kwargs,
    ):
        sampling = GaussianSampling(weight, seed, name="sampling")
        super().__init__(encoder, decoder, reconstruction, conditional, outputs=2, **kwargs)
        self.weight = weight
        self.seed = seed
        self.sampling = sampling
        self._kl_metric = keras.metrics.Mean("kl")
        self.built = True

    def call(self, inputs, training=False):
        x, condition = self.parts_of(inputs)
        mean, log_variance = called(self.encoder, x + condition, training)
        z = self.sampling([mean, log_variance], training=training)
        reconstruction = called(self.decoder, [z, *condition], training)
        return {"reconstruction": reconstruction, "mean": mean, "log_variance": log_variance}

    def penalty(self, outputs):
        # the layer has added it to the losses
        found = self.sampling.divergence(outputs["mean"], outputs["log_variance"])
        self._kl_metric.update_state(found)
        return 0.0

    def posterior(self, x, condition=None, batch_size=256):
        """The ellipses of samples: means and standard deviations, NumPy arrays `(n, size)`.

        Args:
            x, condition: arrays.
            batch_size: how many are coded at once.
        """
        mean, log_variance = self._run(self.encoder, x, condition, batch_size)
        return mean, ops.convert_to_numpy(ops.exp(0.5 * log_variance.astype("float32")))

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "seed": self.seed}
