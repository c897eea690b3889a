"""The entropic autoencoder: codes of mean 0 and variance 1 whose entropy is the largest."""

import keras
from keras import layers

from kexue_keras.losses.knn_entropy import knn_entropy
from kexue_keras.models.autoencoder import Autoencoder, called


@keras.saving.register_keras_serializable(package="kexue_keras")
class EntropicAutoencoder(Autoencoder):
    r"""A generative model without noise: an autoencoder whose codes are made to look normal.

    Formula. $\|x - D(z)\|^2 - \lambda H(Z)$ with $z = BN(E(x))$. Batch normalization without scale
    and centre gives the codes of a batch mean 0 and variance 1; of all such distributions
    $N(0, I)$ has the largest entropy, so that $H$, estimated by `losses.knn_entropy`, draws the
    codes towards it, and codes from $N(0, I)$ are decoded into samples like those of training.

    It is compiled without a loss and fitted without targets, in batches of more than `k` samples
    (the last one too; the larger they are, the better the estimate): `fit(x)`, or `fit([x,
    condition])`. Besides the loss, `fit` and `evaluate` report `reconstruction` and `entropy`, in
    nats: $N(0, I)$ has 1.419 for each number of the code. Distributed over devices, every one takes
    the mean, variance and entropy of its part of the batch.

    Args:
        encoder: `keras.Model` (functional, or Sequential with an `Input`) of `x` to codes `(batch,
            size)`.
        decoder: `keras.Model` likewise, of codes to the shape of `x`.
        entropy_weight: $\lambda$, 0 or more.
        k: which neighbour the entropy is estimated by; fewer than the samples of any batch.
        reconstruction: "mse", the squared difference, or "bce", the binary cross-entropy of numbers
            from 0 to 1. Summed over a sample.
        momentum: of the moving mean and variance, with which codes are normalized where nothing
            is trained.
        conditional: whether encoder and decoder take a condition as their second input: `[x,
            condition]` and `[code, condition]`.
        **kwargs: `name`, `trainable` and `dtype`.

    Input shape: `x`, floating `(batch, ...)`; conditional: list of it and the condition.

    Output shape: dict of `reconstruction` (the shape of `x`) and `code` (`(batch, size)`, float32).
    `sample`, `encode` and `decode` give NumPy arrays.

    Raises:
        ValueError: a bad argument; a loss is compiled; or targets or weights of samples are given.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import models
    >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8)])
    >>> model = models.EntropicAutoencoder(encoder, decoder, entropy_weight=0.5)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
    >>> history = model.fit(x, verbose=0)
    >>> sorted(history.history), model.sample(3).shape
    (['entropy', 'loss', 'reconstruction'], (3, 8))

    Reference: https://kexue.fm/archives/7343; Ghose et al. 2020, https://arxiv.org/abs/2002.10631
    """

    def __init__(
        self,
        encoder,
        decoder,
        entropy_weight=1.0,
        k=1,
        reconstruction="mse",
        momentum=0.99,
        conditional=False,
        **kwargs,
    ):
        if not entropy_weight >= 0:
            raise ValueError(f"`entropy_weight` must not be negative. Received: {entropy_weight}")
        if not isinstance(k, int) or k < 1:
            raise ValueError(f"`k` must be a positive integer. Received: {k!r}")
        super().__init__(encoder, decoder, reconstruction, conditional, **kwargs)
        self.entropy_weight = entropy_weight
        self.k = k
        self.momentum = momentum
        # its epsilon takes next to nothing from the variance of 1
        self.normalization = layers.BatchNormalization(
            momentum=momentum,
            epsilon=1e-6,
            center=False,
            scale=False,
            dtype="float32",
            name="normalization",
        )
        self.normalization.build((None, self.code_size))
        self._entropy_metric = keras.metrics.Mean("entropy")
        self.built = True

    def call(self, inputs, training=False):
        x, condition = self.parts_of(inputs)
        code = self.normalization(called(self.encoder, x + condition, training), training=training)
        reconstruction = called(self.decoder, [code, *condition], training)
        return {"reconstruction": reconstruction, "code": code}

    def penalty(self, outputs):
        entropy = knn_entropy(outputs["code"], self.k)
        self._entropy_metric.update_state(entropy)
        return -self.entropy_weight * entropy

    def encode(self, x, condition=None, batch_size=256):
        found = super().encode(x, condition, batch_size)
        mean, variance = self.normalization.moving_mean, self.normalization.moving_variance
        mean, variance = (keras.ops.convert_to_numpy(part.value) for part in (mean, variance))
        return (found.astype("float32") - mean) / (variance + self.normalization.epsilon) ** 0.5

    def get_config(self):
        config = {"entropy_weight": self.entropy_weight, "k": self.k, "momentum": self.momentum}
        return {**super().get_config(), **config}
