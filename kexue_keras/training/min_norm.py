"""Several tasks as one step that is good for all: the smallest combination of their gradients."""

from keras import ops

from kexue_keras.training.gram_matrix import check_gram, smallest_combination


def min_norm_weights(gram):
    r"""Weights of the simplex of the smallest combination of gradients, exactly.

    The direction $u$ whose smallest gain $\min_i \langle g_i, u\rangle - \frac12\|u\|^2$ is largest
    is $u = \sum_i \alpha_i g_i$ with the $\alpha$ of the simplex that minimizes
    $\|\sum_i \alpha_i g_i\|^2$. Then $\langle g_i, u\rangle \ge \|u\|^2$ for every $i$, so a small
    step against $u$ lowers every loss, and $u = 0$ only where no direction does. For two tasks
    $\alpha_1$ is $\langle g_2 - g_1, g_2\rangle / \|g_1 - g_2\|^2$, cut off at 0 and 1.

    If gradients depend on each other linearly, several $\alpha$ may be optimal; one of them is
    returned. Their $u$ is the same.

    Args:
        gram: float `(n, n)` Gram matrix, the inner products of the gradients of `n` tasks, at most
            8; of any scale. It is computed in float32, or in float64 if it is float64.

    Returns:
        float `(n,)`, not negative, of sum 1.

    Raises:
        ValueError: `gram` is not square or has more than 8 rows.

    Example:

    >>> import numpy as np
    >>> from kexue_keras.training import min_norm_weights
    >>> gradients = np.array([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    >>> [round(float(alpha), 3) for alpha in min_norm_weights(gradients @ gradients.T)]
    [0.2, 0.8, 0.0]

    Reference: https://kexue.fm/archives/8896; Sener and Koltun 2018,
    https://arxiv.org/abs/1810.04650
    """
    gram = ops.convert_to_tensor(gram)
    return smallest_combination(gram, range(check_gram(gram)))


def frank_wolfe_weights(gram, steps, line_search=True):
    r"""The weights of `min_norm_weights` by the iteration of the article, for reference.

    From $\alpha_i = 1/n$ each step goes towards the task $\tau = \arg\min_i \langle g_i, u\rangle$:
    $\alpha \leftarrow (1 - \gamma)\alpha + \gamma e_\tau$, either with the best $\gamma$, by the
    formula for two tasks, or with $\gamma = 1/(k+1)$ at step $k = 1, 2, \dots$ For more than two
    tasks it comes near the optimum slowly: expect a relative error of 1e-3 after thousands of
    steps.

    Args:
        gram: float `(n, n)` Gram matrix of the gradients, of any `n`.
        steps: number of steps, at least 0.
        line_search: whether a step has the best length.

    Returns:
        float32 `(n,)`, not negative, of sum 1.

    Raises:
        ValueError: `gram` is not square; `steps` is negative.

    Example:

    >>> import numpy as np
    >>> from kexue_keras.training.min_norm import frank_wolfe_weights
    >>> gradients = np.array([[2.0, 0.0], [0.0, 1.0]])
    >>> [round(float(alpha), 3) for alpha in frank_wolfe_weights(gradients @ gradients.T, 10)]
    [0.2, 0.8]

    Reference: https://kexue.fm/archives/8896
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ValueError(f"`steps` must be an integer of at least 0. Received: {steps}")
    gram = ops.cast(ops.convert_to_tensor(gram), "float32")
    n = check_gram(gram, limit=None)
    largest = ops.max(ops.diagonal(gram))
    gram = gram / ops.where(largest > 0, largest, 1.0)

    def step(k, alpha):
        products = ops.sum(gram * alpha, axis=1)
        corner = ops.one_hot(ops.argmin(products), n)
        if line_search:
            square, product = ops.sum(alpha * products), ops.min(products)
            length = square - 2 * product + ops.sum(corner * ops.diagonal(gram))
            best = (square - product) / ops.where(length > 0, length, 1.0)
            gamma = ops.where(length > 0, ops.clip(best, 0.0, 1.0), 0.0)
        else:
            gamma = 1.0 / ops.cast(k + 2, "float32")
        return (1 - gamma) * alpha + gamma * corner

    return ops.fori_loop(0, steps, step, ops.full((n,), 1.0 / n))
