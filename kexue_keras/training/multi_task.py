"""Training several tasks at once: weights of losses, and directions that harm none."""

import math
import numbers

import keras
from keras import ops

from kexue_keras import backend
from kexue_keras.training.gram_matrix import LIMIT, smallest_combination
from kexue_keras.training.strategy import Strategy
from kexue_keras.training.task_gradients import products_of, weighted_sum
from kexue_keras.training.task_statistics import TaskStatistics
from kexue_keras.training.task_weights import generalized_mean_weights, inverse

WEIGHTINGS = ("equal", "initial", "prior", "geometric", "generalized_mean", "gradient_norm")
COMBINATIONS = ("sum", "min_norm", "main_auxiliary", "mixed")


@keras.saving.register_keras_serializable(package="kexue_keras")
class MultiTask(Strategy):
    r"""Trains a model of several losses with weights that suit them, or in a direction for all.

    Every compiled loss is a task; `loss_weights` are part of the loss. The gradients $g_i$ of all
    tasks come from one forward pass. `weighting` multiplies each with a number $w_i$:

    - `"equal"`: 1. With `combine="sum"` this is ordinary training, but for rounding.
    - `"initial"`: $1 / L_i$ of the first batch of the task, which is kept and saved.
    - `"prior"`: $1 / L_i$ of the losses in `prior`, say those of the best constant: the entropy of
      the labels, the variance of a number.
    - `"geometric"`: $1 / L_i$ of this batch, as a constant: the gradient of
      $\sum_i \log L_i$, that is of the geometric mean up to its length.
    - `"generalized_mean"`: the gradient of $(\frac1n \sum_i L_i^\gamma)^{1/\gamma}$.
    - `"gradient_norm"`: $1 / \|g_i\|$, so that all gradients are of length 1.

    All but `"equal"` do not care about the scale of the losses (those of `"generalized_mean"` a
    common one); only `"gradient_norm"` does not care about what is added to them, either.
    `combine` makes one direction $u$ of the weighted gradients, which are called $g_i$ from here:

    - `"sum"`: $u = \sum_i g_i$.
    - `"min_norm"`: the smallest $\sum_i \alpha_i g_i$ of the simplex. No task is harmed:
      $\langle g_i, u\rangle \ge \|u\|^2$. See `min_norm_weights`.
    - `"main_auxiliary"`: $g_0 + \sum_i \lambda_i g_i$ with $\lambda \ge 0$, the best for the task
      `main` that harms no other. See `auxiliary_weights`.
    - `"mixed"`: the same for several main tasks. See `mixed_weights`.

    Norms and directions are those of the shared weights: those that more than one task reaches,
    which is to say has a gradient that is not zero. A weight of one task alone, as those of its
    head, gets this task's gradient times $w_i$, whatever the direction. A task without a gradient
    (a batch may have no sample of it) takes no part in the batch. Regularizers, and penalties of
    strategies around this one, are added to the direction as they are. If a gradient is not finite
    (mixed precision lowers its loss scale then), all are summed, and the optimizer sees it.

    Around this strategy `AdversarialTraining` perturbs along the direction of the table alone.
    `fit` reports `weight_<task>`, the factor of a task's gradient in shared weights, and
    `cosine_<task>_<task>` of the gradients in shared weights, as means over the batches of an
    epoch; `evaluate` does not. The loss is the one that was compiled, without these weights.

    A step runs the model forward once and backward once a task.

    Args:
        model: `keras.Model` with two to eight losses. No other strategy: those go around this one.
        weighting: one of the above.
        combine: one of the above.
        main: the main task, an index or the name of its loss, for `"main_auxiliary"`; a list of
            them for `"mixed"`.
        prior: for `"prior"` the loss of every task, positive, in the order of the losses.
        gamma: for `"generalized_mean"` the exponent, a finite number; 1 is the arithmetic mean, 0
            the geometric mean.
        **kwargs: `name` and `trainable`.

    Raises:
        ValueError: an argument is unknown, absent, or given without use; `model` is a strategy. In
            the first step: there are not two to eight losses, `main` is none of them, or `prior`
            has another length.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import training
    >>> inputs = keras.Input((2,))
    >>> x = keras.layers.Dense(4, activation="tanh")(inputs)
    >>> outputs = {name: keras.layers.Dense(1, name=name)(x) for name in ("price", "size")}
    >>> strategy = training.MultiTask(keras.Model(inputs, outputs), combine="min_norm")
    >>> strategy.compile("adam", {"price": "mse", "size": "mae"})
    >>> y = {"price": np.ones((4, 1)), "size": np.zeros((4, 1))}
    >>> history = strategy.fit(np.ones((4, 2)), y, verbose=0).history
    >>> sorted(name for name in history if name.startswith(("weight", "cosine")))
    ['cosine_price_size', 'weight_price', 'weight_size']

    Reference: https://kexue.fm/archives/8870, https://kexue.fm/archives/8896 and
    https://kexue.fm/archives/8907; Sener and Koltun 2018, https://arxiv.org/abs/1810.04650;
    Chen et al. 2018, https://arxiv.org/abs/1711.02257
    """

    innermost = True

    def __init__(
        self,
        model,
        weighting="equal",
        combine="sum",
        main=None,
        prior=None,
        gamma=None,
        **kwargs,
    ):
        _check_choice("weighting", weighting, WEIGHTINGS)
        _check_choice("combine", combine, COMBINATIONS)
        _check_main(main, combine)
        _check_prior(prior, weighting)
        _check_gamma(gamma, weighting)
        super().__init__(model, **kwargs)
        self.weighting = weighting
        self.combine = combine
        self.main = list(main) if isinstance(main, (list, tuple)) else main
        self.prior = prior if prior is None else [float(x) for x in prior]
        self.gamma = gamma
        self.statistics = TaskStatistics()
        if weighting == "initial":
            # of as many tasks as there may be: how many there are is known with the first batch
            self.initial_losses = self.add_weight(
                (LIMIT,),
                initializer="zeros",
                dtype="float32",
                trainable=False,
                aggregation="only_first_replica",
                name="initial_losses",
            )

    @property
    def step_metrics(self):
        return [self.statistics]

    def gradients(self, compute, batch, trainer):
        if trainer.loss is None:
            raise ValueError(f"`loss` of `compile` is needed by {self.name!r}. Received: None")
        _, y, sample_weight = batch
        scale_loss = trainer.optimizer.scale_loss
        changed = self._others_change_the_objective(trainer)

        def losses_of(objective):
            scaled, auxiliary = objective()
            y_pred = auxiliary[1]
            names = [name for name, *_ in backend.compiled_outputs(trainer, y_pred)]
            self.statistics.names = _different(names)
            self._check_tasks()
            losses = backend.compiled_losses(trainer, y, y_pred, sample_weight)
            tasks = [scale_loss(loss) for loss in losses]
            if changed:
                rest = [scaled - sum(tasks)]
            else:
                rest = [scale_loss(trainer.additional_losses())] if trainer.losses else []
            return [*tasks, *rest], (scaled, auxiliary, losses)

        def combined(objective, variables):
            found = backend.gradients_of(lambda: losses_of(objective), variables)()
            (_, (scaled, auxiliary, losses)), gradients = found
            rest = gradients[len(losses) :]
            gradients = self._direction(losses, gradients[: len(losses)], scale_loss(1.0))
            for more in rest:
                gradients = [g + r for g, r in zip(gradients, more, strict=True)]
            return (scaled, auxiliary), gradients

        return combined

    def _direction(self, losses, gradients, loss_scale):
        """One gradient of those of all tasks; this changes the state of the strategy."""
        whole = [[backend.sum_over_replicas(g) for g in group] for group in gradients]
        products = products_of(whole)
        own = self._task_weights(losses, products, loss_scale)
        weights = own * self._combination(own, products)
        self.statistics.update_state(weights, products.gram, products.finite)
        # what is not finite reaches the optimizer, which knows what to do
        weights, own = (ops.where(products.finite, w, 1.0) for w in (weights, own))
        return weighted_sum(gradients, products.shared, weights, own)

    def _task_weights(self, losses, products, loss_scale):
        losses = backend.sum_over_replicas(ops.cast(ops.stack(losses), "float32"))
        losses = ops.stop_gradient(losses)
        if self.weighting == "initial":
            return inverse(self._initial(losses))
        if self.weighting == "prior":
            return inverse(self.prior)
        if self.weighting == "geometric":
            return inverse(losses)
        if self.weighting == "generalized_mean":
            return generalized_mean_weights(losses, self.gamma)
        if self.weighting == "gradient_norm":
            return inverse(products.norms / loss_scale)
        return ops.ones_like(losses)

    def _initial(self, losses):
        """The losses of each task's first batch."""
        n, known = losses.shape[0], self.initial_losses[: losses.shape[0]]
        new = ops.logical_and(known == 0, ops.isfinite(losses))
        known = ops.where(new, losses, known)
        self.initial_losses.assign(ops.pad(known, [[0, LIMIT - n]]))
        return ops.where(known == 0, losses, known)

    def _combination(self, weights, products):
        """Factors of the weighted gradients."""
        n = weights.shape[0]
        if self.combine == "sum":
            return ops.ones((n,))
        # of any scale: what counts is how they compare
        weights = weights / ops.maximum(ops.max(ops.abs(weights)), 1e-30)
        gram = products.gram * weights[:, None] * weights[None, :]
        main = range(n) if self.main is None else self._main_indices()
        # a number, so that what is none is seen in the weights alone
        gram = ops.where(ops.isfinite(gram), gram, 0.0)
        return smallest_combination(gram, main, ops.diagonal(gram) > 0)

    def _main_indices(self):
        names = self.statistics.names
        main = self.main if isinstance(self.main, list) else [self.main]
        indices = [names.index(x) if x in names else x for x in main]
        if any(i not in range(len(names)) for i in indices) or len(set(indices)) != len(indices):
            raise ValueError(
                f"`main` must be of the tasks {names}, by name or index, each once. "
                f"Received: {self.main!r}"
            )
        return indices

    def _check_tasks(self):
        names = self.statistics.names
        if not 2 <= len(names) <= LIMIT:
            raise ValueError(
                f"`loss` of `compile` must be 2 to {LIMIT} losses for {self.name!r}, of outputs of "
                f"their own. Received: {len(names)} ({', '.join(names)})"
            )
        if self.prior is not None and len(self.prior) != len(names):
            raise ValueError(
                f"`prior` must have a loss for each of the tasks {names}. Received: {self.prior}"
            )
        if self.main is not None:
            self._main_indices()

    def _others_change_the_objective(self, trainer):
        while trainer is not self:
            if type(trainer).objective is not Strategy.objective:
                return True
            trainer = trainer.model
        return False

    def get_config(self):
        config = {name: getattr(self, name) for name in ("weighting", "combine", "prior", "gamma")}
        main = list(self.main) if isinstance(self.main, list) else self.main
        return {**super().get_config(), **config, "main": main}


def _different(names):
    """Names of losses, with their places where two are equal."""
    return [f"{name}_{i}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _check_choice(argument, value, choices):
    if value not in choices:
        raise ValueError(f"`{argument}` must be one of {choices}. Received: {value!r}")


def _check_main(main, combine):
    several = isinstance(main, (list, tuple))
    parts = main if several else [main]
    valid = {
        "main_auxiliary": ("the index or name of a task", not several and main is not None),
        "mixed": ("a list of indices or names of tasks", several and len(parts) > 0),
    }
    what, fits = valid.get(combine, ("None", main is None))
    kinds = all(isinstance(x, (str, int)) and not isinstance(x, bool) for x in parts)
    if not fits or not (kinds or main is None):
        raise ValueError(f"`main` must be {what} for `combine={combine!r}`. Received: {main!r}")


def _check_prior(prior, weighting):
    if weighting != "prior":
        if prior is not None:
            raise ValueError(f"`prior` is of `weighting='prior'` alone. Received: {prior!r}")
        return
    if not isinstance(prior, (list, tuple)) or not all(
        isinstance(x, numbers.Real) and math.isfinite(x) and x > 0 for x in prior
    ):
        raise ValueError(
            "`prior` must be a list of positive losses for `weighting='prior'`. "
            f"Received: {prior!r}"
        )


def _check_gamma(gamma, weighting):
    if weighting != "generalized_mean":
        if gamma is not None:
            raise ValueError(
                f"`gamma` is of `weighting='generalized_mean'` alone. Received: {gamma!r}"
            )
    elif not isinstance(gamma, numbers.Real) or not math.isfinite(gamma):
        raise ValueError(
            f"`gamma` must be a finite number for `weighting='generalized_mean'`. Received: {gamma}"
        )
