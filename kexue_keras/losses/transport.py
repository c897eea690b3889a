"""The dual of optimal transport: potentials, and what they say about the distance of two sets."""

from keras import ops


def c_transform(potential, cost):
    r"""The largest potential of the other side that a potential allows.

    $$\psi^c(y_j) = \min_i [c(x_i, y_j) - \psi(x_i)]$$

    so that $\psi(x_i) + \psi^c(y_j) \le c(x_i, y_j)$ for all pairs, whatever $\psi$ is: no
    Lipschitz condition is needed. The gradient flows to the pairs that are the least.

    Args:
        potential: $\psi$ of one side, floating `(n,)`.
        cost: costs of the pairs, floating `(n, m)`.

    Returns:
        $\psi^c$ of the other side, `(m,)`.

    Raises:
        ValueError: the shapes do not fit.

    Example:

    >>> from kexue_keras import losses
    >>> cost = losses.euclidean_cost([[0.0], [3.0]], [[1.0], [3.0]])
    >>> [float(value) for value in losses.c_transform([0.0, 2.0], cost)]
    [0.0, -2.0]

    Reference: https://kexue.fm/archives/8244; Mallasto et al. 2019,
    https://arxiv.org/abs/1910.03875
    """
    potential, cost = ops.convert_to_tensor(potential), ops.convert_to_tensor(cost)
    if len(potential.shape) != 1 or len(cost.shape) != 2 or _differ(potential, cost):
        raise ValueError(
            "`potential` and `cost` must have the shapes (n,) and (n, m). "
            f"Received: {tuple(potential.shape)} and {tuple(cost.shape)}"
        )
    return ops.min(cost - potential[:, None], axis=0)


def kantorovich_dual(potential, cost):
    r"""A lower bound of the transport distance of two sets, by a potential of the one.

    The mean of $\psi$ plus the mean of $\psi^c$ (see `c_transform`). It never exceeds the least
    cost of moving the one set to the other, whose members have equal masses, and reaches it for
    the best $\psi$: Kantorovich's duality.

    Args:
        potential: $\psi$ of one side, floating `(n,)`.
        cost: costs of the pairs, floating `(n, m)`.

    Returns:
        Scalar.

    Raises:
        ValueError: the shapes do not fit.

    Example:

    >>> from kexue_keras import losses
    >>> cost = losses.euclidean_cost([[0.0], [3.0]], [[1.0], [3.0]])
    >>> float(losses.kantorovich_dual([0.0, 3.0], cost))  # the distance is 0.5
    -0.5
    >>> float(losses.kantorovich_dual([0.0, -1.0], cost))
    0.5

    Reference: https://kexue.fm/archives/8244; https://arxiv.org/abs/1910.03875
    """
    return ops.mean(potential) + ops.mean(c_transform(potential, cost))


def euclidean_cost(x, y):
    """Euclidean distances of all pairs of two sets, by a product of matrices.

    Memory is that of the result. Distances below about a thousandth of the samples' deviation are
    rounded; where one is 0, so is its gradient.

    Args:
        x: `(n, ...)`; computed in float32.
        y: `(m, ...)`, of the same shape but for the first axis.

    Returns:
        float32 `(n, m)`.

    Raises:
        ValueError: the shapes do not fit.

    Example:

    >>> from kexue_keras import losses
    >>> cost = losses.euclidean_cost([[0.0, 0.0]], [[3.0, 4.0], [0.0, 0.0]])
    >>> [float(distance) for distance in cost[0]]
    [5.0, 0.0]
    """
    x, y = (ops.cast(ops.convert_to_tensor(part), "float32") for part in (x, y))
    if len(x.shape) < 2 or tuple(x.shape[1:]) != tuple(y.shape[1:]):
        raise ValueError(
            "`x` and `y` must have the shapes (n, ...) and (m, ...). "
            f"Received: {tuple(x.shape)} and {tuple(y.shape)}"
        )
    size = 1
    for length in x.shape[1:]:
        size *= length
    x, y = ops.reshape(x, (-1, size)), ops.reshape(y, (-1, size))
    # far from the origin the products would cancel
    middle = ops.stop_gradient(ops.mean(x, axis=0))
    x, y = x - middle, y - middle
    own = ops.sum(x**2, axis=1)[:, None] + ops.sum(y**2, axis=1)
    return safe_sqrt(own - 2 * ops.matmul(x, ops.transpose(y)))


def safe_sqrt(x):
    """The square root, and 0 with the gradient 0 where `x` is not positive.

    Example:

    >>> float(safe_sqrt(ops.convert_to_tensor(-1e-9)))
    0.0
    """
    positive = x > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, x, 1.0)), 0.0)


def _differ(potential, cost):
    n, m = potential.shape[0], cost.shape[0]
    return n is not None and m is not None and n != m
