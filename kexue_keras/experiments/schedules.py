"""The two learning rates of the recipes."""

import keras


def linear(rate, steps):
    """A learning rate that falls to zero in a straight line.

    Example:

    >>> [float(linear(0.1, 10)(step)) for step in (0, 10)]
    [0.10000000149011612, 0.0]
    """
    return keras.optimizers.schedules.PolynomialDecay(rate, steps, end_learning_rate=0.0)


def cosine(rate, steps, rise=20):
    """A learning rate that rises in the first of `rise` parts, then falls to zero as a cosine.

    Example:

    >>> [round(float(cosine(0.1, 100)(step)), 3) for step in (0, 5, 100)]
    [0.0, 0.1, 0.0]
    """
    warmup = max(1, steps // rise)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
    )
