"""Means over an epoch of the weights of tasks and of the angles between their gradients."""

import itertools

import keras
from keras import ops

from kexue_keras.training.gram_matrix import LIMIT


@keras.saving.register_keras_serializable(package="kexue_keras")
class TaskStatistics(keras.metrics.Metric):
    """`weight_<task>` and `cosine_<task>_<task>`, each a mean over the batches that have it.

    Its result is a dict, which `fit` takes apart. The names are an attribute, `names`, since losses
    have none before the first batch; until then the dict is empty.

    Args:
        name: of the metric, which nobody sees.
        **kwargs: `dtype`.

    Example:

    >>> from kexue_keras.training.task_statistics import TaskStatistics
    >>> statistics = TaskStatistics()
    >>> statistics.names = ["a", "b"]
    >>> statistics.update_state([1.0, 2.0], [[4.0, 1.0], [1.0, 1.0]])
    >>> {name: float(value) for name, value in statistics.result().items()}
    {'weight_a': 1.0, 'weight_b': 2.0, 'cosine_a_b': 0.5}
    """

    def __init__(self, name="task_statistics", **kwargs):
        super().__init__(name=name, **kwargs)
        self.names = []
        size = (LIMIT + 1, LIMIT)
        self.sums = self.add_weight(size, initializer="zeros", name="sums")
        self.counts = self.add_weight(size, initializer="zeros", name="counts")

    def update_state(self, weights, gram, finite=True):
        """Counts a batch.

        Args:
            weights: float `(n,)`.
            gram: float `(n, n)`, inner products of the gradients of the tasks. A pair with a zero
                gradient has no angle and is not counted.
            finite: bool scalar; if it is false, nothing is counted.
        """
        weights, gram = ops.convert_to_tensor(weights), ops.convert_to_tensor(gram)
        norms = ops.sqrt(ops.maximum(ops.diagonal(gram), 0.0))
        some = norms > 0
        safe = ops.where(some, norms, 1.0)
        cosines = gram / safe[:, None] / safe[None, :]
        values = ops.concatenate([weights[None], cosines])
        counted = ops.logical_and(some[:, None], some[None, :])
        counted = ops.concatenate([ops.ones_like(counted[:1]), counted])
        counted = ops.logical_and(ops.logical_and(counted, ops.isfinite(values)), finite)
        pad = [[0, LIMIT + 1 - values.shape[0]], [0, LIMIT - values.shape[1]]]
        values = ops.pad(ops.where(counted, values, 0.0), pad)
        self.sums.assign_add(ops.cast(values, self.sums.dtype))
        self.counts.assign_add(ops.pad(ops.cast(counted, self.counts.dtype), pad))

    def result(self):
        means = self.sums / ops.maximum(self.counts, 1)
        n = len(self.names)
        result = {f"weight_{self.names[i]}": means[0, i] for i in range(n)}
        for i, j in itertools.combinations(range(n), 2):
            result[f"cosine_{self.names[i]}_{self.names[j]}"] = means[i + 1, j]
        return result
