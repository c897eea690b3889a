"""Checks of what losses are given."""

from keras import ops


def same_shape(shape, other):
    """Whether two shapes are the same, as far as they are known.

    Example:

    >>> same_shape((None, 3), (2, 3)), same_shape((1, 3), (2, 3))
    (True, False)
    """
    pairs = zip(shape, other, strict=False)
    return len(shape) == len(other) and all(a == b or None in (a, b) for a, b in pairs)


def check_same_shape(y_true, y_pred):
    """Raises a ValueError unless the shapes are the same, as far as they are known."""
    if not same_shape(y_true.shape, y_pred.shape):
        raise ValueError(
            "`y_true` must have the shape of `y_pred`. Received: "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )


def check_scale(scale):
    """Raises a ValueError unless the factor of the scores is positive."""
    if not scale > 0:
        raise ValueError(f"`scale` must be positive. Received: {scale}")


def refuse_sample_weight(sample_weight, why):
    """Raises a ValueError if there are weights of samples."""
    if sample_weight is not None:
        raise ValueError(
            f"`sample_weight` is not supported: {why}. Received: sample_weight of shape "
            f"{tuple(ops.convert_to_tensor(sample_weight).shape)}"
        )
