"""Virtual adversarial training: smooth where it matters, without labels."""

import math

import keras
from keras import ops

from kexue_keras import backend, losses
from kexue_keras.training.adversarial_training import unit
from kexue_keras.training.embedding_strategy import EmbeddingStrategy

# a compiled loss, by the name of its function, to what measures how far two predictions are apart
_CATEGORICAL = ("categorical_crossentropy", "sparse_categorical_crossentropy")
_BINARY = ("binary_crossentropy", "multilabel_categorical_crossentropy")
_SQUARED = ("mean_squared_error",)


@keras.saving.register_keras_serializable(package="kexue_keras")
class VirtualAdversarialTraining(EmbeddingStrategy):
    r"""Adds to the loss how far the prediction moves where it moves most (VAT).

    With the prediction $f(E)$ of the batch at the embedding table $E$ and a distance $D$, what is
    minimized is $L + w\,D(f(E), f(E + \varepsilon u))$. The direction $u$ is the one in which $D$
    grows fastest, found by power iteration: from a random one, `iterations` times
    $u \leftarrow \nabla_u D(f(E), f(E + \xi u))$, normalized over the whole table. Neither $u$ nor
    the prediction $f(E)$ that is to be kept carries a gradient. `weight=0` is ordinary training.

    No label is looked at for $D$, and sample weights do not apply to it: a sample of weight 0, with
    any label, counts for the regularizer alone. So labelled texts and texts without labels are
    mixed in one batch. (The mean of the other loss runs, as always in Keras, over all samples,
    those of weight 0 too.)

    A step runs the model `iterations + 2` times. Further passes draw the same dropout masks as the
    first one and leave no trace in metrics or statistics of batch normalization. The loss that
    `fit` reports includes the regularizer; `evaluate` has the loss alone.

    Args:
        model: `keras.Model` or another strategy.
        embedding: name of the embedding layer, which may sit in a nested model and may be frozen.
        epsilon: length $\varepsilon$ of the perturbation, at least 0.
        xi: length $\xi$ of the trial moves of power iteration, above 0.
        iterations: their number; with 0 the direction is random.
        weight: weight $w$ of the regularizer, at least 0.
        divergence: the distance $D$, a `keras.losses.Loss` or its name, called with the prediction
            to keep and the one at the perturbed table. By default it goes with the compiled loss of
            each output: `CategoricalDivergence` for (sparse) categorical cross-entropy,
            `BinaryDivergence` for binary and multilabel cross-entropy, of logits or probabilities
            as these are, and the mean squared error for itself.
        seed: of the first directions.
        **kwargs: `name` and `trainable`.

    Raises:
        ValueError: no layer, or more than one, has the name `embedding`; the layer has no weight
            `embeddings`; a number is out of its range; or no distance goes with a compiled loss.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import training
    >>> model = keras.Sequential([keras.Input((None,), dtype="int32"),
    ...     keras.layers.Embedding(9, 4, name="words"), keras.layers.GlobalAveragePooling1D(),
    ...     keras.layers.Dense(1, activation="sigmoid")])
    >>> strategy = training.VirtualAdversarialTraining(model, "words")
    >>> strategy.compile("adam", "binary_crossentropy")
    >>> texts, labels = np.array([[1, 2], [3, 4], [5, 6]]), np.array([[0], [1], [0]])
    >>> labelled = np.array([1, 1, 0])  # the last text has no label
    >>> history = strategy.fit(texts, labels, sample_weight=labelled, verbose=0)

    Reference: https://kexue.fm/archives/7466; Miyato et al. 2017, https://arxiv.org/abs/1704.03976
    """

    def __init__(
        self,
        model,
        embedding,
        epsilon=1.0,
        xi=10.0,
        iterations=1,
        weight=1.0,
        divergence=None,
        seed=None,
        **kwargs,
    ):
        for name, value in (("epsilon", epsilon), ("weight", weight)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"`{name}` must be at least 0. Received: {value}")
        if not (math.isfinite(xi) and xi > 0):
            raise ValueError(f"`xi` must be above 0. Received: {xi}")
        if not (isinstance(iterations, int) and iterations >= 0):
            raise ValueError(
                f"`iterations` must be a whole number of at least 0. Received: {iterations}"
            )
        super().__init__(model, embedding, **kwargs)
        self.epsilon, self.xi, self.iterations, self.weight = epsilon, xi, iterations, weight
        self.divergence = None if divergence is None else keras.losses.get(divergence)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def objective(self, objective, batch, trainer):
        if not (self.weight and self.epsilon):
            return objective
        table, scale_loss = self.embedding_table(), trainer.optimizer.scale_loss

        def with_divergence():
            generators = backend.random_state(trainer)
            loss, y_pred = objective()
            fixed = keras.tree.map_structure(ops.stop_gradient, y_pred)

            def distance(shift):
                with backend.undone([*generators, (table, table.value + shift)]):
                    return self._distance(trainer, fixed, trainer(batch[0], training=True))

            shape, dtype = table.shape, table.dtype
            direction = unit(keras.random.normal(shape, dtype=dtype, seed=self.seed_generator))
            for _ in range(self.iterations):
                trial = lambda: scale_loss(distance(self.xi * direction))  # noqa: B023, E731
                _, (gradient,) = backend.value_and_grad(trial, [table])()
                direction = ops.stop_gradient(unit(backend.sum_over_replicas(gradient)))
            return loss + self.weight * distance(self.epsilon * direction), y_pred

        return with_divergence

    def _distance(self, trainer, fixed, moved):
        total = 0.0
        if trainer.loss is None and self.divergence is not None:  # another strategy has its own
            outputs = zip(keras.tree.flatten(fixed), keras.tree.flatten(moved), strict=True)
            return sum(self.divergence(before, after) for before, after in outputs)
        pairs = (backend.compiled_outputs(trainer, x) for x in (fixed, moved))
        for (name, loss, weight, before), (*_, after) in zip(*pairs, strict=True):
            divergence = self.divergence or divergence_of(loss, name)
            total = total + divergence(before, after) * (1.0 if weight is None else weight)
        return total

    def get_config(self):
        config = {"epsilon": self.epsilon, "xi": self.xi, "iterations": self.iterations}
        config |= {"weight": self.weight, "seed": self.seed, "divergence": None}
        if self.divergence is not None:
            config["divergence"] = keras.saving.serialize_keras_object(self.divergence)
        return {**super().get_config(), **config}


def divergence_of(loss, name):
    """The distance of two predictions that goes with a loss.

    Args:
        loss: `keras.losses.Loss`, as `compile` makes it.
        name: of the output, for the error.

    Returns:
        `keras.losses.Loss` of the prediction to keep and another one.

    Raises:
        ValueError: no distance is known for it.

    Example:

    >>> import keras
    >>> from kexue_keras.training.virtual_adversarial_training import divergence_of
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> divergence_of(loss, "classes").from_logits
    True
    """
    function = getattr(getattr(loss, "fn", None), "__name__", None)
    if isinstance(loss, losses.MultilabelCategoricalCrossentropy):
        function = "multilabel_categorical_crossentropy"
    config = loss.get_config()
    if function in _CATEGORICAL and config.get("axis", -1) == -1:
        return losses.CategoricalDivergence(config.get("from_logits", False))
    if function in _BINARY:
        logits = function != "binary_crossentropy" or config.get("from_logits", False)
        return losses.BinaryDivergence(logits)
    if function in _SQUARED:
        return loss
    raise ValueError(
        "`divergence` must be given for a loss without a known one. Received: None, with the loss "
        f"{loss.name!r} of {name!r}"
    )
