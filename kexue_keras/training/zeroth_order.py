"""Training without gradients: differences of the loss along random directions."""

import math

import keras
from keras import ops

from kexue_keras import backend
from kexue_keras.training.seeded_noise import SeededNoise
from kexue_keras.training.strategy import Strategy


@keras.saving.register_keras_serializable(package="kexue_keras")
class ZerothOrder(Strategy):
    r"""Estimates the gradient by differences of the loss at weights moved at random.

    In place of the gradient of the loss $f$ at the weights $\theta$ the optimizer is given

    $$\frac{1}{2 \sigma n} \sum_{i=1}^n [f(\theta + \sigma u_i) - f(\theta - \sigma u_i)]\, u_i,
    \qquad u_i \sim N(0, I).$$

    Its expectation is the gradient of $f$ smoothed by a normal distribution of the deviation
    $\sigma$, for any $f$, also one that has no gradient of its own, as the error rate; for a
    quadratic one it is the gradient of $f$ itself. The variance grows with the number of weights,
    so this is a way to train few weights (freeze the rest), or slowly. The two ends of a direction
    make a baseline needless: what is common to them cancels.

    A step runs the model $2n + 1$ times, forward only. The first pass is undisturbed and counts:
    its loss and metrics are those that `fit` reports. The others leave no trace and draw the same
    dropout masks. Directions are made from seeds when they are needed, so that memory does not grow
    with `samples`: beside the weights there are one moved copy and the sum. Under `tf.distribute`
    all replicas take the same directions. In float16 and bfloat16 the difference of two close
    losses is mostly rounding: take a larger `sigma`, or compute in float32.

    Args:
        model: `keras.Model`. Any loss may be compiled, in `keras.ops` or by `python_objective`.
        sigma: deviation $\sigma$ of the weights, positive.
        samples: number $n$ of directions.
        seed: int, for the directions; None takes one of Python's random generator. The state is
            saved with the strategy.
        **kwargs: `name` and `trainable`.

    Raises:
        ValueError: a bad argument, or the model is a strategy.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import training
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    >>> error_rate = training.python_objective(lambda y, p: np.mean(y != p.argmax(-1)))
    >>> strategy = training.ZerothOrder(model, sigma=0.1, seed=0)
    >>> strategy.compile("adam", error_rate)
    >>> history = strategy.fit(np.ones((8, 2)), np.ones(8, "int32"), verbose=0)
    >>> 0 <= history.history["loss"][0] <= 1
    True

    Reference: https://kexue.fm/archives/7737; Nesterov and Spokoiny 2017,
    https://doi.org/10.1007/s10208-015-9296-2
    """

    innermost = True

    def __init__(self, model, sigma=1e-2, samples=8, seed=None, **kwargs):
        if not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"`sigma` must be positive. Received: {sigma}")
        if not isinstance(samples, int) or samples < 1:
            raise ValueError(f"`samples` must be a positive integer. Received: {samples}")
        super().__init__(model, **kwargs)
        self.sigma = sigma
        self.samples = samples
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def gradients(self, compute, batch, trainer):
        def estimate(objective, variables):
            start = backend.random_state(trainer)
            value = objective()
            noise = SeededNoise(self.seed_generator, len(variables), self.samples)

            def loss_at(direction, distance):
                moved = [
                    ops.cast(v.value, "float32") + distance * noise.normal(direction, k, v.shape)
                    for k, v in enumerate(variables)
                ]
                with backend.undone([*start, *zip(variables, moved, strict=True)]):
                    return ops.cast(objective()[0], "float32")

            def add(direction, sums):
                difference = loss_at(direction, self.sigma) - loss_at(direction, -self.sigma)
                slope = difference / (2 * self.sigma * self.samples)
                return [
                    total + slope * noise.normal(direction, k, total.shape)
                    for k, total in enumerate(sums)
                ]

            sums = [ops.zeros(v.shape, "float32") for v in variables]
            if variables and backend.replicas() == 1:
                sums = ops.fori_loop(0, self.samples, add, sums)
            elif variables:  # replicas cannot meet inside a loop of TensorFlow
                for direction in range(self.samples):
                    sums = add(direction, sums)
            noise.end()
            return value, [ops.cast(s, v.dtype) for s, v in zip(sums, variables, strict=True)]

        return estimate

    def get_config(self):
        config = {"sigma": self.sigma, "samples": self.samples, "seed": self.seed}
        return {**super().get_config(), **config}
