"""A sample of a normal distribution whose mean and variance a network tells."""

import keras
from keras import layers, ops

_RANDOM_STATE = "random_state"  # name of the generator's state in files; Keras forgets those


@keras.saving.register_keras_serializable(package="kexue_keras")
class GaussianSampling(layers.Layer):
    r"""Draws from $N(\mu, \sigma^2)$ by reparametrisation and adds the divergence from $N(0, I)$.

    Formulas. $z = \mu + \sigma \epsilon$ with $\epsilon \sim N(0, I)$; the loss that is added is
    `weight` times the mean over the batch of
    $\sum_j \frac{1}{2} (\mu_j^2 + \sigma_j^2 - \log \sigma_j^2 - 1)$, the Kullback-Leibler
    divergence of $N(\mu, \sigma^2)$ from $N(0, I)$. Near $\mu = 0$, $\sigma = 1$ that is
    $\sum_j \frac{1}{2} \mu_j^2 + (\sigma_j - 1)^2$: it pulls ellipses towards the unit circle.

    It draws in training only; in inference the output is the mean, so that `predict` gives the same
    whenever it is called. The loss is added in both.

    Args:
        weight: factor of the added loss, 0 or more. With 0 nothing keeps the variance from
            vanishing, and the layer becomes the identity of the mean.
        seed: int, or None for one of Python's random generator. The state of the generator is
            saved with the weights.

    Input shape: list of the mean and the logarithm of the variance, floating `(batch, ...)` both.

    Output shape: the same.

    Masking: none; every number counts in the loss.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> layer = layers.GaussianSampling()
    >>> mean, log_variance = np.ones((1, 2), "float32"), np.zeros((1, 2), "float32")
    >>> sample = layer([mean, log_variance], training=True)
    >>> tuple(sample.shape), float(layer.losses[0])
    ((1, 2), 1.0)

    Reference: https://kexue.fm/archives/7725; Kingma and Welling 2014,
    https://arxiv.org/abs/1312.6114
    """

    def __init__(self, weight=1.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not weight >= 0:
            raise ValueError(f"`weight` must not be negative. Received: {weight}")
        self.weight = weight
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        _check(input_shape)

    @staticmethod
    def divergence(mean, log_variance):
        """The Kullback-Leibler divergence from N(0, I) of every sample, float32 `(batch,)`."""
        mean, log_variance = (ops.cast(x, "float32") for x in (mean, log_variance))
        each = 0.5 * (mean**2 + ops.expm1(log_variance) - log_variance)
        return ops.sum(each, axis=tuple(range(1, len(each.shape))))

    def call(self, inputs, training=False):
        mean, log_variance = inputs
        self.add_loss(self.weight * ops.mean(self.divergence(mean, log_variance)))
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), dtype="float32", seed=self.seed_generator)
        deviation = ops.exp(0.5 * ops.cast(log_variance, "float32"))
        return ops.cast(ops.cast(mean, "float32") + deviation * noise, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store[_RANDOM_STATE] = ops.convert_to_numpy(self.seed_generator.state.value)

    def load_own_variables(self, store):
        super().load_own_variables(
            {name: store[name] for name in store.keys() if name != _RANDOM_STATE}
        )
        self.seed_generator.state.assign(store[_RANDOM_STATE])

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "seed": self.seed}


def _check(shapes):
    pair = isinstance(shapes, (list, tuple)) and len(shapes) == 2
    if not pair or not isinstance(shapes[0], (list, tuple)) or tuple(shapes[0]) != tuple(shapes[1]):
        raise ValueError(
            "`inputs` must be the mean and the log variance, of the same shape. "
            f"Received: shapes {shapes}"
        )
