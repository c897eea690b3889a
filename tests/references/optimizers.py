"""Optimizers in NumPy: AdaFactor (7302), clipping (7469), exponentiated gradient (8968).

Written from the articles alone: https://kexue.fm/archives/7302, 7469 and 8968.
"""

import numpy as np


def factored_axes(shape, min_dim_size_to_factor=128):
    """The two largest axes in ascending order, or None where the second-largest is too small.

    Of axes of equal size the last ones are taken.
    """
    if len(shape) < 2:
        return None
    order = np.argsort(shape, kind="stable")[-2:]
    if shape[order[0]] < min_dim_size_to_factor:
        return None
    return tuple(sorted(int(axis) for axis in order))


def rank_one(rows, columns, axes):
    """The product of both marginals over their total, v = vr vc / sum(vr) (article 7302).

    `rows` are the sums over `axes[1]` and `columns` the sums over `axes[0]`, dimensions kept; the
    product minimises the I-divergence to the array whose sums they are.
    """
    return rows * columns / rows.sum(axes[0], keepdims=True)


def rms(x):
    return np.sqrt(np.mean(x**2))


def adafactor(
    parameters,
    gradients_per_step,
    learning_rate=1e-3,
    beta1=0.0,
    beta2=None,
    epsilon1=1e-30,
    epsilon2=1e-3,
    multiply_by_parameter_scale=True,
    clipping_threshold=1.0,
    min_dim_size_to_factor=128,
    axes=None,
):
    """AdaFactor on one tensor of any rank (SPEC C8, article 7302).

        beta2_t = 1 - t^-0.8, t = 1, 2, ...       or `beta2`, constant, without bias correction
        c       = g^2 + epsilon1
        vr, vc  = moving averages of the sums of c over either of the two largest axes
        v       = vr vc / sum(vr)                 or the moving average of c where not factored
        u       = g / sqrt(v)
        u       = u / max(1, RMS(u) / clipping_threshold)
        m       = beta1 m + (1 - beta1) u         takes the place of u if beta1 > 0
        u       = u max(epsilon2, RMS(theta))     if `multiply_by_parameter_scale`
        theta   = theta - alpha_t u

    SPEC does not say where momentum stands; here it averages the clipped update, before the scale
    of the parameters, and is not corrected for its start at zero.

    Args:
        parameters: array, the start.
        gradients_per_step: a list of arrays, or a function of the parameters together with the
            number of steps, `(function, steps)`.
        learning_rate: a number, a function of t = 1, 2, ..., or None: min(1e-2, 1 / sqrt(t)),
            times 0.05 without the scale of the parameters.
        clipping_threshold: None does not clip.
        axes: the two axes to factor, whatever their sizes; None follows the rule of sizes.

    Returns:
        The parameters after each step, a list.
    """
    theta = np.array(parameters, "float64")
    axes = factored_axes(theta.shape, min_dim_size_to_factor) if axes is None else axes
    rows = columns = second = momentum = 0.0
    trajectory = []
    for t, gradient in enumerate(steps_of(gradients_per_step), start=1):
        g = np.asarray(gradient(theta) if callable(gradient) else gradient, "float64")
        decay = 1.0 - t**-0.8 if beta2 is None else beta2
        c = g**2 + epsilon1
        if axes is None:
            second = v = decay * second + (1 - decay) * c
        else:
            rows = decay * rows + (1 - decay) * c.sum(axes[1], keepdims=True)
            columns = decay * columns + (1 - decay) * c.sum(axes[0], keepdims=True)
            v = rank_one(rows, columns, axes)
        u = g / np.sqrt(v)
        if clipping_threshold is not None:
            u = u / max(1.0, rms(u) / clipping_threshold)
        if beta1 > 0:
            momentum = beta1 * momentum + (1 - beta1) * u
            u = momentum
        if multiply_by_parameter_scale:
            u = u * max(epsilon2, rms(theta))
        if learning_rate is None:
            rate = min(1e-2, t**-0.5) * (1.0 if multiply_by_parameter_scale else 0.05)
        else:
            rate = learning_rate(t) if callable(learning_rate) else learning_rate
        theta = theta - rate * u
        trajectory.append(theta)
    return trajectory


def steps_of(gradients):
    """The gradients one by one; `(function, steps)` repeats the function."""
    if isinstance(gradients, tuple) and len(gradients) == 2 and callable(gradients[0]):
        return [gradients[0]] * gradients[1]
    return list(gradients)


def soft_clip(gradients, gamma, mode="soft"):
    """All gradients times one factor of their global norm (SPEC C4, article 7469).

    "soft": gamma / (norm + gamma); "hard": min(1, gamma / norm).
    """
    gradients = [np.asarray(g, "float64") for g in gradients]
    norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
    factor = {"soft": gamma / (norm + gamma), "hard": gamma / max(norm, gamma)}[mode]
    return [factor * g for g in gradients]


def exponentiated_gradient(theta, gradients, rate, simplex_axis=None):
    """theta <- theta exp(-rate g), over its sum along `simplex_axis` if given (SPEC C9, 8968).

    Args:
        theta: positive array, the start.
        gradients: a list of arrays, or `(function of theta, number of steps)`.

    Returns:
        theta after each step, a list.
    """
    theta = np.array(theta, "float64")
    trajectory = []
    for gradient in steps_of(gradients):
        exponent = -rate * np.asarray(gradient(theta) if callable(gradient) else gradient)
        if simplex_axis is None:
            theta = theta * np.exp(exponent)
        else:
            theta = theta * np.exp(exponent - exponent.max(simplex_axis, keepdims=True))
            theta = theta / theta.sum(simplex_axis, keepdims=True)
        trajectory.append(theta)
    return trajectory


def adaptive_step_size(theta, gradients, rate, meta_rate, normalized=False, gains=False):
    """A step size of every coordinate that follows the agreement of gradients (SPEC C9, 8968).

        nu_{t+1}    = nu_t exp(meta_rate g_{t-1} g_t),      nu_1 = 1, g_0 = 0
        theta_{t+1} = theta_t - rate nu_{t+1} g_t

    The article absorbs `rate` in `meta_rate`, and its exponent is the raw product, which overflows
    soon; nothing is clipped here. `normalized` divides either gradient by its norm over the whole
    tensor (join the tensors into one for a global norm); a zero gradient gives the exponent 0. The
    article has no such form: SPEC only says that the paper normalises.

    Args:
        theta: array, the start.
        gradients: a list of arrays, or `(function of theta, number of steps)`.
        gains: also return the nu of each step.

    Returns:
        theta after each step, a list; with `gains` this and the list of nu_{t+1}.
    """
    theta = np.array(theta, "float64")
    last, log_nu = np.zeros_like(theta), np.zeros_like(theta)
    trajectory, nus = [], []
    for gradient in steps_of(gradients):
        g = np.asarray(gradient(theta) if callable(gradient) else gradient, "float64")
        agreement = last * g
        if normalized:
            norms = np.sqrt(np.sum(last**2)) * np.sqrt(np.sum(g**2))
            agreement = agreement / norms if norms > 0 else np.zeros_like(g)
        log_nu = log_nu + meta_rate * agreement
        nus.append(np.exp(log_nu))
        theta = theta - rate * nus[-1] * g
        trajectory.append(theta)
        last = g
    return (trajectory, nus) if gains else trajectory
