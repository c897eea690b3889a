"""Positions inside attention: rotary ones, and vectors of distances."""

import numpy as np
from keras import ops


def apply_rotary_positions(x, positions=None):
    """Turns the pairs of features of position p by the angles `p theta_i`.

    `(x_2i, x_2i+1)` are the coordinates of a pair and `theta_i = 10000 ** (-2i / head_size)`, so
    the dot product of a query and a key depends on the distance of their positions only.

    Args:
        x: floating, `(batch, length, heads, head_size)`, `head_size` even.
        positions: int32 `(length,)` or `(batch, length)`; by default 0, 1, 2, ...

    Returns:
        float32, of the shape of `x`.

    Raises:
        ValueError: `head_size` is odd.

    Example:

    >>> import numpy as np
    >>> from kexue_keras.layers import apply_rotary_positions
    >>> x = np.array([[[[1.0, 0.0]], [[1.0, 0.0]]]])
    >>> print(np.array(apply_rotary_positions(x))[0, :, 0].round(2))
    [[1.   0.  ]
     [0.54 0.84]]

    Reference: https://kexue.fm/archives/8265; Su et al. 2021, https://arxiv.org/abs/2104.09864
    """
    x = ops.cast(x, "float32")
    size = x.shape[-1]
    if size % 2:
        raise ValueError(f"`x` must have an even number of features. Received: {size}")
    theta = ops.convert_to_tensor(10000.0 ** (-np.arange(0, size, 2, dtype="float32") / size))
    positions = ops.arange(ops.shape(x)[1]) if positions is None else positions
    angles = ops.expand_dims(ops.cast(positions, "float32"), -1) * theta
    cos, sin = (ops.expand_dims(f(angles), -2) for f in (ops.cos, ops.sin))
    even, odd = x[..., ::2], x[..., 1::2]
    turned = ops.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1)
    return ops.reshape(turned, ops.shape(x))


def distance_table(size, max_distance=64):
    """The fixed vectors of all distances from `-max_distance` to `max_distance`, see below.

    Args:
        size: features of a vector, even.
        max_distance: the largest distance.

    Returns:
        float32 array, `(2 * max_distance + 1, size)`.

    Raises:
        ValueError: `size` is odd.

    Example:

    >>> from kexue_keras.layers.positions import distance_table
    >>> distance_table(4).shape
    (129, 4)
    """
    if size % 2:
        raise ValueError(f"`size` must be even. Received: {size}")
    theta = 10000.0 ** (-np.arange(0, size, 2) / size)
    angles = np.arange(2 * max_distance + 1)[:, None] * theta
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return table.reshape(-1, size).astype("float32")


def relative_positions(queries, keys, size, max_distance=64):
    """A fixed vector for the distance of every query and key.

    `R_ij = P(clip(p_j - p_i, -max_distance, max_distance))`, where features 2 i and 2 i + 1 of
    `P(p)` are the sine and the cosine of `(p + max_distance) theta_i`,
    `theta_i = 10000 ** (-2i / size)`.

    Args:
        queries, keys: how many there are, numbered from 0; or their positions, int32 `(n,)` or
            `(batch, n)`.
        size: features of a vector, even.
        max_distance: the largest distance that is told from longer ones.

    Returns:
        float32, `(queries, keys, size)`, or `(batch, queries, keys, size)`.

    Raises:
        ValueError: `size` is odd.

    Example:

    >>> from kexue_keras.layers import relative_positions
    >>> tuple(relative_positions(3, 5, size=4).shape)
    (3, 5, 4)

    Reference: NEZHA, Wei et al. 2019, https://arxiv.org/abs/1909.00204; Shaw et al. 2018,
    https://arxiv.org/abs/1803.02155
    """
    table = distance_table(size, max_distance)
    queries, keys = (x if len(getattr(x, "shape", ())) else ops.arange(x) for x in (queries, keys))
    distances = ops.expand_dims(keys, -2) - ops.expand_dims(queries, -1)
    places = ops.clip(distances, -max_distance, max_distance) + max_distance
    return ops.take(ops.convert_to_tensor(table), places, axis=0)
