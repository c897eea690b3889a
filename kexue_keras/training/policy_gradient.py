"""The policy gradient of a classifier: a reward in place of a loss."""

import keras
import numpy as np
from keras import ops, tree

from kexue_keras import backend
from kexue_keras.training.batch_weights import batch_mean, batch_weights
from kexue_keras.training.given_function import config_of_function, given_function
from kexue_keras.training.python_objective import PythonObjective
from kexue_keras.training.strategy import Strategy

BASELINES = (None, "mean", "optimal")
# what is under it has the logarithm of it, and no gradient
_FLOOR = float(np.finfo("float32").tiny)


@keras.saving.register_keras_serializable(package="kexue_keras")
class PolicyGradient(Strategy):
    r"""Maximizes the expected reward of a class drawn from the model's probabilities.

    For every example a class $y$ is drawn from the model's $p(y|x)$ inside the compiled step, and
    the weights move along $(r - b)\,\nabla \log p(y|x)$, an estimate of the gradient of
    $\sum_y p(y|x)\, r(y_{true}, y)$. The reward $r$ needs no gradient: accuracy, a table of costs,
    anything.

    The baseline $b$ makes the estimate less noisy. A number that does not depend on what was drawn
    leaves its expectation as it is. Here $b$ is estimated of rewards that the draw itself belongs
    to. With "mean" over $n$ of them (the batch, or the `samples` of an example if there are
    several) the expectation is exactly $1 - 1/n$ times the gradient: of the same direction, and
    nothing at all for one example with one sample. "optimal" is the $b$ of least variance,
    $E[r\,\|\nabla\log p\|^2] / E[\|\nabla\log p\|^2]$, estimated of the same rewards, with the norm
    of the gradient by the logits of a softmax: $\|\nabla\log p(y)\|^2 = 1 - 2p(y) + \sum_k p(k)^2$.
    Its bias is of the order $1/n$ too. `None` has no bias, and the greatest variance.

    The loss that `fit` reports is minus the mean reward of what was drawn, that of `evaluate` minus
    the mean reward of the most probable classes; what regularizers and `add_loss` add comes to
    both, and is minimized as usual. So compile without a loss. A sample weight multiplies the
    reward's part of the loss, which is divided by the size of the batch; examples of weight zero do
    not count in the baseline. A step runs the model once.

    Under "mixed_float16" give the softmax the dtype "float32": $1/p$ overflows float16.

    Args:
        model: `keras.Model` with one output, probabilities `(batch, classes)`.
        reward: `reward(y_true, sampled)` to a float tensor `(batch,)`, of `sampled` int32
            `(batch,)`, in `keras.ops`; a Python function comes as
            `python_objective(function, per_sample=True)`. `y_true` is what `fit` is given, None
            included. With several `samples` it is asked once, every example being repeated. To be
            saved it must be registered with `keras.saving.register_keras_serializable`; its
            registered name may stand for it.
        baseline: "mean", "optimal" or None.
        samples: how many classes are drawn for an example.
        seed: int, for the draws; None takes one of Python's random generator. The state is saved
            with the strategy.
        **kwargs: `name` and `trainable`.

    Raises:
        ValueError: a bad argument; the model is a strategy; a loss is compiled; or, in the first
            step, an output or a reward of another shape.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import training
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    >>> hit = lambda y_true, sampled: keras.ops.cast(sampled == y_true, "float32")
    >>> strategy = training.PolicyGradient(model, hit, seed=0)
    >>> strategy.compile("adam")
    >>> history = strategy.fit(np.ones((8, 2)), np.ones(8, "int32"), verbose=0)
    >>> -1 <= history.history["loss"][0] <= 0
    True

    Reference: https://kexue.fm/archives/7737; Williams 1992, https://doi.org/10.1007/BF00992696
    """

    innermost = True

    def __init__(self, model, reward, baseline="mean", samples=1, seed=None, **kwargs):
        if baseline not in BASELINES:
            raise ValueError(f"`baseline` must be one of {BASELINES}. Received: {baseline!r}")
        if not isinstance(samples, int) or samples < 1:
            raise ValueError(f"`samples` must be a positive integer. Received: {samples}")
        reward = given_function(reward, "reward")
        super().__init__(model, **kwargs)
        self.reward = reward
        self.baseline = baseline
        self.samples = samples
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        if isinstance(reward, PythonObjective):
            self.supports_jit = backend.calls_from_xla()

    def objective(self, objective, batch, trainer):
        x, y, sample_weight = batch
        if trainer.loss is not None:
            raise ValueError(
                f"`loss` of `compile` must be None: {self.name!r} has a reward in its place. "
                f"Received: {trainer.loss!r}"
            )

        def rewarded():
            y_pred = trainer(x, training=True)
            log_p = ops.log(ops.maximum(_probabilities(y_pred), _FLOOR))
            drawn = keras.random.categorical(
                ops.stop_gradient(log_p), self.samples, "int32", self.seed_generator
            )
            repeat = lambda part: ops.repeat(part, self.samples, axis=0)  # noqa: E731
            rewards = self._rewards(tree.map_structure(_unless_none(repeat), y), drawn)
            weights = batch_weights(sample_weight, y_pred)
            b = self._baseline(ops.stop_gradient(log_p), drawn, rewards, weights)
            chosen = ops.take_along_axis(log_p, drawn, axis=-1)
            surrogate = -batch_mean(ops.mean((rewards - b) * chosen, axis=-1), weights)
            loss = -batch_mean(ops.mean(rewards, axis=-1), weights)
            # the value of the one, the gradient of the other
            loss = loss + (surrogate - ops.stop_gradient(surrogate))
            return loss + trainer.additional_losses(), y_pred

        return rewarded

    def own_loss(self, y, y_pred, sample_weight):
        best = ops.argmax(_probabilities(y_pred), axis=-1)[:, None]
        rewards = self._rewards(y, ops.cast(best, "int32"))
        return -batch_mean(rewards[:, 0], batch_weights(sample_weight, y_pred))

    def _rewards(self, y, drawn):
        """Float32 `(batch, samples)`."""
        rewards = ops.convert_to_tensor(self.reward(y, ops.reshape(drawn, (-1,))))
        if len(rewards.shape) != 1:
            raise ValueError(
                "`reward` must return one number for every sample, `(batch,)` (a Python function: "
                f"with `per_sample=True`). Received: shape {tuple(rewards.shape)}"
            )
        rewards = ops.reshape(ops.cast(rewards, "float32"), (-1, drawn.shape[-1]))
        return ops.stop_gradient(rewards)

    def _baseline(self, log_p, drawn, rewards, weights):
        """`b`: of the batch a scalar, of several samples `(batch, 1)`."""
        if self.baseline is None:
            return 0.0
        of_batch = self.samples == 1
        shares = weights[:, None] if of_batch else ops.ones_like(rewards)
        if self.baseline == "optimal":
            p = ops.exp(log_p)
            chosen = ops.take_along_axis(p, drawn, axis=-1)
            squares = 1.0 - 2.0 * chosen + ops.sum(p**2, axis=-1, keepdims=True)
            shares = shares**2 * squares
        if of_batch:
            parts = backend.sum_over_replicas(
                ops.stack([ops.sum(rewards * shares), ops.sum(shares)])
            )
        else:
            parts = ops.sum(ops.stack([rewards * shares, shares]), axis=-1, keepdims=True)
        some = parts[1] > 0
        return ops.where(some, parts[0] / ops.where(some, parts[1], 1.0), 0.0)

    def get_config(self):
        config = {
            "reward": config_of_function(self.reward, "reward"),
            "baseline": self.baseline,
            "samples": self.samples,
            "seed": self.seed,
        }
        return {**super().get_config(), **config}


def _probabilities(y_pred):
    if tree.is_nested(y_pred) or len(y_pred.shape) != 2:
        shapes = tree.map_structure(lambda x: tuple(x.shape), y_pred)
        raise ValueError(
            "`model` must have one output, probabilities of the shape (batch, classes). "
            f"Received: {shapes}"
        )
    return ops.cast(y_pred, "float32")


def _unless_none(function):
    return lambda x: None if x is None else function(x)
