"""A generator trained by the dual of the Wasserstein distance, with any way to bound the critic."""

import functools
import math

import keras
import numpy as np
from keras import ops

from kexue_keras import backend
from kexue_keras.losses.transport import c_transform, euclidean_cost, kantorovich_dual
from kexue_keras.models import lipschitz as slopes
from kexue_keras.models.generator_and_critic import (
    GeneratorAndCritic,
    additional_losses,
    check_data,
)

LIPSCHITZ = ("clip", "gradient_penalty", "spectral", "c_transform")


@keras.saving.register_keras_serializable(package="kexue_keras")
class WassersteinGAN(GeneratorAndCritic):
    r"""A generator whose samples come near to the data, and a critic that says how far they are.

    The Wasserstein distance of two distributions, with the Euclidean distance as the cost, is

    $$W_1 = \max_{\|\psi\|_L \le 1} E_x \psi(x) - E_z \psi(G(z)).$$

    The critic $\psi$ maximizes, the generator $G$ minimizes. The ways to bound the slope of $\psi$:

    - "clip": every weight of the critic is cut to `[-clip, clip]` after a step. The slope is
      bounded, but by an unknown number, so that `distance` is a multiple of the distance.
    - "gradient_penalty": the critic's loss has `penalty` times the mean of
      $|\,\|\nabla \psi\| - c\,|^p$, on lines between real and generated samples. `center=1` is
      WGAN-GP ($p = 2$, penalty 10), `center=0` WGAN-div ($p = 6$, penalty 2), whose `distance`
      is not on the scale of $W_1$. The critic may not normalize over the batch.
    - "spectral": the kernels of dense and convolutional layers, seen as matrices, are divided by
      their spectral norm after a step, which is followed by one power iteration a step. Bring a
      critic without `SpectralNormalization`.
    - "c_transform": no bound. $-\psi(G(z))$ is replaced by $\psi^c(y) = \min_x [\|x - y\| -
      \psi(x)]$ over the batch, in both steps, see `losses.c_transform`. So `distance` never exceeds
      the exact one between the two batches. It comes nearest to that of all; but what gets near to
      a batch is its centroids, and so the samples are blurred.

    A step of `fit(x)` takes `critic_steps` steps of the critic with new codes and the same real
    batch, then one of the generator. Reported are `loss`, which the generator minimizes,
    `critic_loss`, `distance`, the estimate on the batches while the critic trains, and with a
    gradient penalty `penalty`, before its factor. `evaluate(x)` reports the same of other data;
    calling the model gives $\psi(x)$. Regularizers are part of the losses.

    Args:
        generator: any built `keras.Model` of codes `(batch, latent_dim)` to samples, or one that
            `latent_dim` is enough to build.
        critic: any `keras.Model` of samples to `(batch, 1)`, without an activation at its end.
        lipschitz: one of the above.
        latent_dim: size of the codes, which are drawn from N(0, I). None takes it from the
            generator.
        clip: positive number, of "clip".
        penalty: factor of "gradient_penalty", at least 0. None: 10, or 2 if `center` is 0.
        center: of "gradient_penalty", at least 0.
        power: of "gradient_penalty", at least 1. None: 2, or 6 if `center` is 0.
        critic_steps: positive integer.
        seed: int, for codes and points on the lines; None takes one of Python's random generator.
            The state is saved with the model.
        **kwargs: `name` and `trainable`. The dtype policy is that of `critic`.

    Raises:
        ValueError: a bad argument; names it.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import models
    >>> generator = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> critic = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, activation="relu"),
    ...     keras.layers.Dense(1)])
    >>> gan = models.WassersteinGAN(generator, critic, "gradient_penalty", critic_steps=2, seed=0)
    >>> gan.compile(keras.optimizers.Adam(2e-4, beta_1=0.5))
    >>> history = gan.fit(np.ones((8, 2), "float32"), verbose=0).history
    >>> sorted(history), gan.sample(5, seed=0).shape
    (['critic_loss', 'distance', 'loss', 'penalty'], (5, 2))

    Reference: https://kexue.fm/archives/8244; https://arxiv.org/abs/1701.07875 (clip);
    https://arxiv.org/abs/1704.00028, https://arxiv.org/abs/1712.01026 (penalties);
    https://arxiv.org/abs/1802.05957 (spectral); https://arxiv.org/abs/1910.03875 (c-transform);
    https://arxiv.org/abs/2103.01678
    """

    def __init__(
        self,
        generator,
        critic,
        lipschitz="clip",
        latent_dim=None,
        clip=0.01,
        penalty=None,
        center=1.0,
        power=None,
        critic_steps=5,
        seed=None,
        **kwargs,
    ):
        if lipschitz not in LIPSCHITZ:
            raise ValueError(f"`lipschitz` must be one of {LIPSCHITZ}. Received: {lipschitz!r}")
        if not isinstance(critic_steps, int) or critic_steps < 1:
            raise ValueError(f"`critic_steps` must be a positive integer. Received: {critic_steps}")
        if not (math.isfinite(clip) and clip > 0):
            raise ValueError(f"`clip` must be positive. Received: {clip}")
        for name, value, least in (
            ("penalty", penalty, 0),
            ("center", center, 0),
            ("power", power, 1),
        ):
            if value is not None and not (math.isfinite(value) and value >= least):
                raise ValueError(f"`{name}` must be at least {least}. Received: {value}")
        super().__init__(generator, critic, latent_dim, seed, **kwargs)
        self.lipschitz = lipschitz
        self.clip = clip
        self.penalty = penalty
        self.center = center
        self.power = power
        self.critic_steps = critic_steps
        kernels = slopes.kernels_of(critic) if lipschitz == "spectral" else []
        self._directions = [self._direction(i, kernel) for i, kernel in enumerate(kernels)]
        names = ["critic_loss", "distance"] + ["penalty"] * (lipschitz == "gradient_penalty")
        self._means = {name: keras.metrics.Mean(name) for name in names}

    @backend.train_step
    def train_step(self, x, y, sample_weight):
        check_data(y, sample_weight)
        x = ops.cast(x, "float32")
        size = ops.shape(x)[0]
        for _ in range(self.critic_steps):
            fake = ops.stop_gradient(self.generated(size, training=True))
            objective = functools.partial(self._critic_terms, x, fake, training=True)
            self._track(self.step(self.critic_optimizer, self.critic, objective), x)
            self._bound()

        def generator_terms():
            fake = self.generated(size, training=True)
            return {"loss": self._generator_loss(x, fake, training=True)}

        terms = self.step(self.optimizer, self.generator, generator_terms)
        backend.track_loss(self, terms["loss"] / backend.replicas(), x)
        return self.get_metrics_result()

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What `evaluate` reports: the generator's loss; the other values are tracked."""
        check_data(y, sample_weight)
        x = ops.cast(x, "float32")
        with backend.undone():  # what is drawn for an evaluation does not change the training
            fake = self.generated(ops.shape(x)[0], training=False)
            terms = self._critic_terms(x, fake, training=False)
            loss = self._generator_loss(x, fake, training=False)
        self._track(terms, x)
        return loss / backend.replicas()

    def distance(self, x, y, batch_size=256):
        """The critic's estimate of the Wasserstein distance of two batches.

        With "c_transform" it is at most the exact distance of these batches. Otherwise it is the
        difference of the critic's means, on the scale that its slope has.

        Args:
            x: samples `(n, ...)`, the real ones.
            y: samples `(m, ...)`, the generated ones.
            batch_size: how many the critic sees at once.

        Returns:
            float.
        """
        x, y = np.asarray(x, "float32"), np.asarray(y, "float32")
        values = self.predicted(self.critic, x, batch_size).reshape(-1).astype("float64")
        if self.lipschitz == "c_transform":
            return float(kantorovich_dual(values.astype("float32"), euclidean_cost(x, y)))
        return float(
            values.mean() - self.predicted(self.critic, y, batch_size).mean(dtype="float64")
        )

    def _critic_terms(self, x, fake, training):
        """What the critic minimizes, `critic_loss`, and its parts."""
        psi = self.judged(x, training)
        if self.lipschitz == "c_transform":
            distance = kantorovich_dual(psi, euclidean_cost(x, fake))
        else:
            distance = ops.mean(psi) - ops.mean(self.judged(fake, training))
        loss = additional_losses(self.critic) - distance
        if self.lipschitz != "gradient_penalty":
            return {"critic_loss": loss, "distance": distance}
        shape = (ops.shape(x)[0], *[1] * (len(x.shape) - 1))
        share = keras.random.uniform(shape, seed=self.seed_generator)
        points = ops.stop_gradient(share * x + (1 - share) * fake)
        weight, power = (10.0, 2.0) if self.center else (2.0, 6.0)
        weight = weight if self.penalty is None else self.penalty
        power = power if self.power is None else self.power
        penalty = slopes.gradient_penalty(self.critic, points, self.center, power, training)
        return {"critic_loss": loss + weight * penalty, "distance": distance, "penalty": penalty}

    def _generator_loss(self, x, fake, training):
        if self.lipschitz == "c_transform":
            psi = self.judged(x, training)
            loss = ops.mean(c_transform(ops.stop_gradient(psi), euclidean_cost(x, fake)))
        else:
            loss = -ops.mean(self.judged(fake, training))
        return loss + additional_losses(self.generator)

    def _bound(self):
        if self.lipschitz == "clip":
            slopes.clip_weights(self.critic.trainable_variables, self.clip)
        elif self.lipschitz == "spectral":
            slopes.normalize_kernels(slopes.kernels_of(self.critic), self._directions)

    def _track(self, terms, x):
        for name, mean in self._means.items():
            mean.update_state(terms[name], sample_weight=ops.shape(x)[0])

    def _direction(self, index, kernel):
        start = slopes.largest_direction(kernel)
        make = lambda shape, dtype=None: ops.convert_to_tensor(start, dtype)  # noqa: E731
        return self.add_weight(
            start.shape, make, "float32", trainable=False, name=f"direction_{index}"
        )

    def get_config(self):
        names = ("lipschitz", "clip", "penalty", "center", "power", "critic_steps")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
