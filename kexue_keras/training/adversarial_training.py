"""Adversarial training on the embedding table: the fast gradient method."""

import math

import keras
from keras import ops

from kexue_keras import backend
from kexue_keras.training.embedding_strategy import EmbeddingStrategy


@keras.saving.register_keras_serializable(package="kexue_keras")
class AdversarialTraining(EmbeddingStrategy):
    r"""Trains on the embedding table where, nearby, the loss is highest (FGM).

    With the gradient $g$ of the loss of the batch by the whole table $E$, the update is made of
    the gradients at $E + \varepsilon\, g / \|g\|$, by every weight; the table itself stays where
    it is and is updated like the rest. The norm is that of the whole matrix, so `epsilon` is the
    length of the move of all the batch's vectors together, whatever the scale of the loss.
    `epsilon=0` is ordinary training.

    A step runs the model twice. The first pass, for $g$, leaves no trace: metrics, statistics of
    batch normalization and the seeds of dropout are as they were, so the second pass has the same
    dropout masks. The second counts: the loss and metrics that `fit` reports are those at the
    perturbed table, as in the article's code; `evaluate` has the undisturbed ones. If $g$ is not
    finite (mixed precision lowers its loss scale then) nothing is perturbed.

    With `steps` above 1 the place is looked for by projected descent (PGD): that many times a move
    of length `step_size` along the gradient at the place so far, back to the ball of radius
    `epsilon` where it leaves it; as many more passes of the model.

    Args:
        model: `keras.Model` or another strategy.
        embedding: name of the embedding layer, which may sit in a nested model and may be frozen.
        epsilon: length of the perturbation, at least 0; with several steps its largest length.
        steps: number of moves.
        step_size: length of a move; None: `epsilon` for one step, `2.5 * epsilon / steps` for more.
        **kwargs: `name` and `trainable`.

    Raises:
        ValueError: no layer, or more than one, has the name `embedding`; the layer has no weight
            `embeddings`; `epsilon` is negative or not finite; `steps` or `step_size`
            is not positive.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import training
    >>> model = keras.Sequential([keras.Input((None,), dtype="int32"),
    ...     keras.layers.Embedding(9, 4, name="words"), keras.layers.GlobalAveragePooling1D(),
    ...     keras.layers.Dense(1, activation="sigmoid")])
    >>> strategy = training.AdversarialTraining(model, "words", epsilon=0.5)
    >>> strategy.compile("adam", "binary_crossentropy")
    >>> history = strategy.fit(np.array([[1, 2], [3, 4]]), np.array([[0], [1]]), verbose=0)
    >>> model.predict(np.array([[1, 2]]), verbose=0).shape
    (1, 1)

    Reference: https://kexue.fm/archives/7234; Miyato et al. 2016, https://arxiv.org/abs/1605.07725;
    several steps: Madry et al. 2017, https://arxiv.org/abs/1706.06083
    """

    def __init__(self, model, embedding, epsilon=1.0, steps=1, step_size=None, **kwargs):
        if not (math.isfinite(epsilon) and epsilon >= 0):
            raise ValueError(f"`epsilon` must be at least 0. Received: {epsilon}")
        if not (isinstance(steps, int) and steps >= 1):
            raise ValueError(f"`steps` must be a whole number of at least 1. Received: {steps}")
        if not (step_size is None or (math.isfinite(step_size) and step_size > 0)):
            raise ValueError(f"`step_size` must be None or above 0. Received: {step_size}")
        super().__init__(model, embedding, **kwargs)
        self.epsilon = epsilon
        self.steps = steps
        self.step_size = step_size

    def gradients(self, compute, batch, trainer):
        if not self.epsilon:
            return compute
        table = self.embedding_table()
        first = 1.0 if self.steps == 1 else 2.5 / self.steps
        size = self.epsilon * first if self.step_size is None else self.step_size

        def at_the_perturbed_table(objective, variables):
            shift = 0.0
            for _ in range(self.steps):
                with backend.undone([(table, table.value + shift)]):
                    _, (gradient,) = compute(objective, [table])
                shift = shift + size * unit(backend.sum_over_replicas(gradient))
                if self.steps > 1 or size > self.epsilon:
                    shift = shift * ops.minimum(1.0, self.epsilon / ops.maximum(norm(shift), 1e-30))
            with backend.replaced(table, table.value + shift):
                return compute(objective, variables)

        return at_the_perturbed_table

    def get_config(self):
        config = {"epsilon": self.epsilon, "steps": self.steps, "step_size": self.step_size}
        return {**super().get_config(), **config}


def norm(x):
    """The norm of all elements of `x`, whose squares may be beyond the largest number."""
    largest = ops.maximum(ops.max(ops.abs(x)), 1e-30)
    return largest * ops.sqrt(ops.sum((x / largest) ** 2))


def unit(x):
    """`x` divided by its norm, for any scale of `x`; zeros if `x` is zero or not finite.

    Args:
        x: float tensor of any shape; the norm is that of all its elements.

    Example:

    >>> from kexue_keras.training.adversarial_training import unit
    >>> [round(float(i), 4) for i in unit([3e30, -4e30])]
    [0.6, -0.8]
    """
    x = ops.convert_to_tensor(x)
    largest = ops.max(ops.abs(x))
    regular = ops.logical_and(ops.isfinite(largest), largest > 0)
    x = ops.where(regular, x, 0.0) / ops.where(regular, largest, 1.0)
    return x / ops.maximum(ops.sqrt(ops.sum(x**2)), 1.0)
