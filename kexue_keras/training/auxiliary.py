"""Main and auxiliary tasks: what helps the main ones and harms no other."""

import numpy as np
from keras import ops

from kexue_keras.training.gram_matrix import check_gram, check_indices, smallest_combination


def auxiliary_weights(gram, main=0):
    r"""Weights of the auxiliary tasks beside one main task, exactly.

    Of the directions $u$ that harm no auxiliary task, $\langle u, g_i\rangle \ge 0$, the best for
    the main one, $\max \langle u, g_0\rangle - \frac12\|u\|^2$, is
    $u = g_0 + \sum_i \lambda_i g_i$ with the $\lambda \ge 0$ that minimize $\|u\|^2$. A task that
    does not conflict with $u$ has $\lambda_i = 0$; so without conflicts $u = g_0$. For one
    auxiliary task $\lambda = \mathrm{relu}(-\langle g_0, g_1\rangle) / \|g_1\|^2$. For more,
    the iteration of the article, which corrects the task that is harmed most, may stop before the
    optimum; this is the optimum itself.

    If gradients depend on each other linearly, several $\lambda$ may be optimal; one of them is
    returned. Their $u$ is the same.

    Args:
        gram: float `(n, n)` Gram matrix, the inner products of the gradients of `n` tasks, at most
            8; of any scale. It is computed in float32, or in float64 if it is float64.
        main: index of the main task.

    Returns:
        float `(n - 1,)`, not negative: of the tasks but `main`, in their order.

    Raises:
        ValueError: `gram` is not square or has more than 8 rows; `main` is no index of a task.

    Example:

    >>> import numpy as np
    >>> from kexue_keras.training import auxiliary_weights
    >>> gradients = np.array([[1.0, 1.0], [-2.0, 0.0], [1.0, 0.0]])
    >>> [round(float(x), 3) for x in auxiliary_weights(gradients @ gradients.T)]
    [0.5, 0.0]

    Reference: https://kexue.fm/archives/8907
    """
    gram = ops.convert_to_tensor(gram)
    n = check_gram(gram)
    (main,) = check_indices([main], n)
    weights = smallest_combination(gram, [main])
    return ops.take(weights, np.delete(np.arange(n), main), axis=0)


def mixed_weights(gram, main):
    r"""Weights of several main tasks, which share a simplex, and of auxiliary ones.

    The direction harms no task and serves all main ones: $\|\sum_i w_i g_i\|^2$ is smallest over
    $w \ge 0$ whose sum over the main tasks is 1. So $\langle u, g_i\rangle \ge \|u\|^2$ for main
    tasks and $\langle u, g_i\rangle \ge 0$ for the others. If all are main tasks, these are
    `min_norm_weights`; if one is, they are 1 and its `auxiliary_weights`.

    Args:
        gram: float `(n, n)` Gram matrix, as of `min_norm_weights`.
        main: indices of the main tasks, at least one.

    Returns:
        float `(n,)`, not negative: of all tasks in their order.

    Raises:
        ValueError: `gram` is not square or has more than 8 rows; `main` has none or other indices.

    Example:

    >>> import numpy as np
    >>> from kexue_keras.training import mixed_weights
    >>> gradients = np.array([[1.0, 2.0], [1.0, -1.0], [-1.0, 0.0]])
    >>> [round(float(w), 3) for w in mixed_weights(gradients @ gradients.T, main=[0, 1])]
    [0.333, 0.667, 1.0]

    Reference: https://kexue.fm/archives/8907
    """
    return smallest_combination(gram, main)
