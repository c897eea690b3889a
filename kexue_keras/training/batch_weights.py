"""Means over a batch with sample weights, as Keras's losses take them."""

from keras import ops, tree

from kexue_keras import backend


def batch_weights(sample_weight, y_pred):
    """The weights of the samples of a batch, float32 `(batch,)`; ones if there are none.

    Args:
        sample_weight: None, `(batch,)` or `(batch, 1)`.
        y_pred: the model's output or outputs, for the size of the batch.

    Raises:
        ValueError: weights of another shape.

    Example:

    >>> import numpy as np
    >>> batch_weights(None, np.zeros((3, 2))).shape == (3,)
    True
    """
    size = ops.shape(tree.flatten(y_pred)[0])[0]
    if sample_weight is None:
        return ops.ones((size,))
    sample_weight = ops.convert_to_tensor(sample_weight)
    shape = tuple(sample_weight.shape)
    if len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(f"`sample_weight` must be of the shape (batch,). Received: {shape}")
    return ops.cast(ops.reshape(sample_weight, (-1,)), "float32")


def batch_mean(values, weights):
    """The sum of weighted values by the size of the batch, and by the number of replicas, of which
    each sees a part of it: what Keras's "sum_over_batch_size" gives.

    Args:
        values, weights: float32 `(batch,)`.

    Example:

    >>> import numpy as np
    >>> float(batch_mean(np.array([1.0, 3.0]), np.array([1.0, 0.0])))
    0.5
    """
    return ops.mean(values * weights) / backend.replicas()
