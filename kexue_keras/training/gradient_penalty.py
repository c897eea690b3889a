"""The gradient penalty on the embedding table."""

import math

import keras
from keras import ops

from kexue_keras import backend
from kexue_keras.training.embedding_strategy import EmbeddingStrategy


@keras.saving.register_keras_serializable(package="kexue_keras")
class GradientPenalty(EmbeddingStrategy):
    r"""Adds to the loss the squared norm of its own gradient by the embedding table.

    What is minimized is $L + \frac12 w \|\nabla_E L\|^2$ with the loss $L$ of the batch
    (regularizers included) and the whole table $E$: adversarial training to first order, whose
    loss at $E + \varepsilon \nabla_E L$ is $L + \varepsilon \|\nabla_E L\|^2$. `weight=0` is
    ordinary training.

    A step runs the model once, and differentiates twice: metrics, statistics of batch
    normalization and dropout are as in ordinary training. The loss that `fit` reports includes the
    penalty, as it does regularizers; `evaluate` has the loss alone. With the loss scaling of mixed
    precision, the gradient inside the penalty is computed of the scaled loss and divided by the
    scale. A penalty that overflows there makes the optimizer skip the step and is not reported.

    Args:
        model: `keras.Model` or another strategy.
        embedding: name of the embedding layer, which may sit in a nested model and may be frozen.
        weight: weight $w$ of the penalty, at least 0.
        **kwargs: `name` and `trainable`.

    Raises:
        ValueError: no layer, or more than one, has the name `embedding`; the layer has no weight
            `embeddings`; `weight` is negative or not finite.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import training
    >>> model = keras.Sequential([keras.Input((None,), dtype="int32"),
    ...     keras.layers.Embedding(9, 4, name="words"), keras.layers.GlobalAveragePooling1D(),
    ...     keras.layers.Dense(1, activation="sigmoid")])
    >>> strategy = training.GradientPenalty(model, "words", weight=1.0)
    >>> strategy.compile("adam", "binary_crossentropy")
    >>> history = strategy.fit(np.array([[1, 2], [3, 4]]), np.array([[0], [1]]), verbose=0)
    >>> model.predict(np.array([[1, 2]]), verbose=0).shape
    (1, 1)

    Reference: https://kexue.fm/archives/7466 and https://kexue.fm/archives/7234;
    Drucker and LeCun 1992, https://doi.org/10.1109/72.165600
    """

    def __init__(self, model, embedding, weight=1.0, **kwargs):
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"`weight` must be at least 0. Received: {weight}")
        super().__init__(model, embedding, **kwargs)
        self.weight = weight

    def objective(self, objective, batch, trainer):
        if not self.weight:
            return objective
        table = self.embedding_table()
        scale_loss = trainer.optimizer.scale_loss

        def scaled():
            loss, y_pred = objective()
            return scale_loss(loss), (loss, y_pred)

        def penalized():
            (_, (loss, y_pred)), (gradient,) = backend.value_and_grad(scaled, [table])()
            gradient = backend.sum_over_replicas(gradient) / scale_loss(1.0)
            penalty = 0.5 * self.weight * ops.sum(gradient**2) / backend.replicas()
            if isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer):
                # its gradients are still not finite then, by which the optimizer knows
                penalty = ops.where(ops.isfinite(penalty), penalty, 0.0)
            return loss + penalty, y_pred

        return penalized

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}
