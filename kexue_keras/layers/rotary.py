"""Rotary positions of queries and keys."""

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
