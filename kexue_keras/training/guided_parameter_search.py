"""Guided parameter search (MGS): candidates around the weights and around a step of a guide."""

import math

import keras
from keras import ops

from kexue_keras import backend
from kexue_keras.ops import LOWEST
from kexue_keras.training.batch_weights import batch_mean, batch_weights
from kexue_keras.training.given_function import config_of_function, given_function
from kexue_keras.training.python_objective import PythonObjective
from kexue_keras.training.seeded_noise import SeededNoise
from kexue_keras.training.strategy import Strategy


@keras.saving.register_keras_serializable(package="kexue_keras")
class GuidedParameterSearch(Strategy):
    r"""Minimizes an objective without a gradient by weighing candidate moves of the weights.

    The move that the article asks for is the mean of $\Delta$ under
    $p(\Delta) \propto e^{-[l(\theta + \Delta) - l(\theta)]/\alpha}$ with the objective $l$ and the
    temperature $\alpha$. It is estimated by candidates of

    $$q(\Delta) = \lambda N(0, \sigma^2) + (1 - \lambda) N(-\eta g, \sigma^2),$$

    where $g$ is the gradient of the guide, the compiled loss, with the weights
    $w_i \propto e^{-[l(\theta + \Delta_i) - l(\theta)]/\alpha} / q(\Delta_i)$, whose sum is 1. What
    the optimizer is given for a gradient is $-\sum_i w_i \Delta_i$: SGD with a rate of 1 makes the
    article's move. $l(\theta)$ is the same for all candidates and cancels, so it is not computed.

    $1/q$ makes the estimate exact for ever more candidates, and rules it when the weights are many:
    the standard deviation of $\log q$ is $\sqrt{d/2}$ with $d$ weights, so one candidate, the one
    that lies farthest out, gets nearly all, whatever its objective. `importance=False` leaves $1/q$
    out. The mean is then that under $q(\Delta)\, e^{-[l(\theta + \Delta) - l(\theta)]/\alpha}$, in
    which the objective alone chooses; with a large temperature it is $(1 - \lambda) \eta g$, the
    guide's step. All weights are computed in float32 as logarithms, the part of $\|\Delta\|^2$ that
    is the same for all left out from the start, so that $10^8$ weights do no harm.

    A step makes one step of the guide, which counts: its loss and metrics are those that `fit`
    reports. The `candidates` passes forward leave no trace and draw the same dropout masks. A
    candidate is made from seeds twice, for its objective and for the sum: beside the weights there
    are the guide's gradient, one moved copy and the sum, however many the candidates. The guide's
    gradient is without the scale of mixed precision; if it is not finite the step is skipped. A
    candidate whose objective is not finite gets no weight. Under `tf.distribute` the candidates are
    the same on all replicas and their objective is the mean of the replicas'.

    Args:
        model: `keras.Model`, compiled with the loss that guides.
        objective: `objective(y_true, y_pred)` to a scalar, or to `(batch,)` whose mean is taken,
            to be minimized: in `keras.ops`, or a Python function by `python_objective`. Sample
            weights need `(batch,)`. To be saved it must be registered with
            `keras.saving.register_keras_serializable`; its registered name may stand for it.
        candidates: their number.
        sigma: deviation of the candidates: a positive number, or "gradient": for every variable the
            mean absolute value of $\eta g$ in it, so that noise and guide are of one size in layers
            whose gradients are not. A variable whose gradient is zero is then not moved.
        mixture: $\lambda$, the share of candidates around the weights as they are, from 0 to 1.
        temperature: $\alpha$, positive, in units of the objective.
        guide_rate: $\eta$, positive: what the guide's gradient is multiplied by. The article has 1;
            a model that SGD trains at another rate wants that.
        importance: whether the weights have $1/q$.
        seed: int, for the candidates; None takes one of Python's random generator. The state is
            saved with the strategy.
        **kwargs: `name` and `trainable`.

    Raises:
        ValueError: a bad argument; the model is a strategy; or, in the first step, an objective of
            another shape, or sample weights with a scalar objective.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import training
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    >>> error_rate = training.python_objective(lambda y, p: np.mean(y != p.argmax(-1)))
    >>> strategy = training.GuidedParameterSearch(model, error_rate, temperature=0.1, seed=0)
    >>> strategy.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    >>> history = strategy.fit(np.ones((8, 2)), np.ones(8, "int32"), verbose=0)
    >>> sorted(history.history)
    ['loss']

    Reference: https://kexue.fm/archives/7521; Welleck and Cho 2020,
    https://arxiv.org/abs/2006.03158
    """

    innermost = True

    def __init__(
        self,
        model,
        objective,
        candidates=4,
        sigma="gradient",
        mixture=0.5,
        temperature=1.0,
        guide_rate=1.0,
        importance=True,
        seed=None,
        **kwargs,
    ):
        if not isinstance(candidates, int) or candidates < 1:
            raise ValueError(f"`candidates` must be a positive integer. Received: {candidates}")
        if sigma != "gradient":
            _check_positive("sigma", sigma, " or 'gradient'")
        if not 0 <= mixture <= 1:
            raise ValueError(f"`mixture` must be from 0 to 1. Received: {mixture}")
        _check_positive("temperature", temperature)
        _check_positive("guide_rate", guide_rate)
        function = given_function(objective, "objective")
        super().__init__(model, **kwargs)
        self.search_objective = function
        self.candidates = candidates
        self.sigma = sigma
        self.mixture = mixture
        self.temperature = temperature
        self.guide_rate = guide_rate
        self.importance = bool(importance)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        if isinstance(function, PythonObjective):
            self.supports_jit = backend.calls_from_xla()

    def gradients(self, compute, batch, trainer):
        x, y, sample_weight = batch

        def search(objective, variables):
            start = backend.random_state(trainer)
            value, guide = compute(objective, variables)
            scale = trainer.optimizer.scale_loss(1.0)
            guide = [
                self.guide_rate / scale * backend.sum_over_replicas(ops.cast(g, "float32"))
                for g in guide
            ]
            sigmas = [self._sigma(g) for g in guide]
            # in units of sigma; a part that is not moved has no density
            steps = [_divided(g, s) for g, s in zip(guide, sigmas, strict=True)]
            moves = [ops.cast(s > 0, "float32") for s in sigmas]
            noise = SeededNoise(self.seed_generator, len(variables) + 1, self.candidates)

            def around_guide(i):
                return ops.cast(noise.uniform(i, len(variables), ()) >= self.mixture, "float32")

            def unit(i, k):
                return moves[k] * noise.normal(i, k, guide[k].shape)

            def move(i, k):
                return sigmas[k] * unit(i, k) - around_guide(i) * guide[k]

            def try_candidate(i, found):
                places = range(len(variables))
                moved = [ops.cast(v.value, "float32") + move(i, k) for k, v in enumerate(variables)]
                with backend.undone([*start, *zip(variables, moved, strict=True)]):
                    loss = self._objective_of(y, trainer(x, training=True), sample_weight)
                excess = sum(ops.sum(unit(i, k) ** 2 - moves[k]) for k in places)
                along = sum(ops.sum(unit(i, k) * steps[k]) for k in places)
                here = ops.cast(ops.arange(self.candidates) == i, "float32")
                parts = (loss, excess, along, around_guide(i))
                return [total + here * part for total, part in zip(found, parts, strict=True)]

            found = [ops.zeros((self.candidates,)) for _ in range(4)]
            losses, *of_density = ops.fori_loop(0, self.candidates, try_candidate, found)
            losses = backend.sum_over_replicas(losses) / backend.replicas()
            log_q = ops.zeros(())
            if self.importance:
                square = sum(ops.sum(step**2) for step in steps)
                log_q = log_density(*of_density, square, self.mixture)
            weights = importance_weights(losses, log_q, self.temperature)

            def add(i, sums):
                weight = ops.sum(ops.where(ops.arange(self.candidates) == i, weights, 0.0))
                return [total + weight * move(i, k) for k, total in enumerate(sums)]

            sums = ops.fori_loop(0, self.candidates, add, [ops.zeros_like(g) for g in guide])
            noise.end()
            factor = -scale / backend.replicas()
            return value, [
                ops.cast(factor * s, v.dtype) for s, v in zip(sums, variables, strict=True)
            ]

        return search

    def _sigma(self, gradient):
        if self.sigma == "gradient":
            return ops.mean(ops.abs(gradient))
        return ops.convert_to_tensor(self.sigma, "float32")

    def _objective_of(self, y, y_pred, sample_weight):
        loss = ops.cast(self.search_objective(y, y_pred), "float32")
        if len(loss.shape) > 1 or (len(loss.shape) == 0 and sample_weight is not None):
            needed = "a number for every sample, (batch,), where there are sample weights"
            needed = needed if len(loss.shape) == 0 else "a scalar or (batch,)"
            raise ValueError(
                f"`objective` must return {needed}. Received: shape {tuple(loss.shape)}"
            )
        if len(loss.shape):
            loss = batch_mean(loss, batch_weights(sample_weight, y_pred)) * backend.replicas()
        return ops.where(ops.isfinite(loss), loss, -LOWEST)

    def get_config(self):
        names = (
            "candidates",
            "sigma",
            "mixture",
            "temperature",
            "guide_rate",
            "importance",
            "seed",
        )
        config = {name: getattr(self, name) for name in names}
        config["objective"] = config_of_function(self.search_objective, "objective")
        return {**super().get_config(), **config}


def log_density(excess, along, around_guide, square, mixture):
    r"""$\log q$ of candidates, up to what is the same for all.

    With the standard normal $u$ that a candidate is made of and the guide's step $k = \eta g /
    \sigma$, the candidate is $\sigma u$ or $\sigma (u - k)$, and nothing but $\|u\|^2$ and $u \cdot
    k$ varies.

    Args:
        excess: float32 `(candidates,)`, $\|u\|^2 - d$.
        along: float32 `(candidates,)`, $u \cdot k$.
        around_guide: float32 `(candidates,)`, 1 for a candidate around the guide's step, else 0.
        square: $\|k\|^2$.
        mixture: share of the candidates around 0.

    Example:

    >>> float(log_density(*[keras.ops.zeros((1,))] * 3, 0.0, 0.5)[0])
    0.0
    """
    shares = [math.log(share) if share else LOWEST for share in (mixture, 1 - mixture)]
    near, far = 0.0, -0.5 * square
    to_zero = ops.where(around_guide > 0, far + along, near)
    to_guide = ops.where(around_guide > 0, near, far - along)
    return ops.logaddexp(shares[0] + to_zero, shares[1] + to_guide) - 0.5 * excess


def importance_weights(losses, log_density, temperature):
    """Self-normalized weights of candidates, `exp(-losses / temperature) / density` over its sum.

    Args:
        losses: float32 `(candidates,)`.
        log_density: float32 of the same shape, up to a constant.
        temperature: positive number.

    Example:

    >>> import numpy as np
    >>> weights = importance_weights(np.array([1e4, 2e4], "float32"), np.zeros(2, "float32"), 1.0)
    >>> [float(weight) for weight in weights]
    [1.0, 0.0]
    """
    log_weights = -(losses - ops.min(losses)) / temperature - log_density
    return ops.softmax(log_weights - ops.max(log_weights))


def _divided(x, sigma):
    some = sigma > 0
    return ops.where(some, x / ops.where(some, sigma, 1.0), 0.0)


def _check_positive(name, value, other=""):
    if isinstance(value, str) or not (math.isfinite(value) and value > 0):
        raise ValueError(f"`{name}` must be positive{other}. Received: {value!r}")
