"""Recurrent cells (7888) and the bound of gradient penalties (8796) in NumPy.

Written from the articles alone: https://kexue.fm/archives/7888, 8796. A step takes the vectors of
all states side by side and returns them so; weights are in Keras's order. Derivatives are complex
steps, `imag f(x + i e) / e`, exact to the last digits.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def simple_rnn(x, state, weights, activation=np.tanh):
    w, u, b = weights
    return activation(x @ w + state @ u + b)


def lstm(x, state, weights):
    w, u, b = weights
    h, c = np.split(state, 2)
    i, f, chat, o = np.split(x @ w + h @ u + b, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(chat)
    return np.concatenate([sigmoid(o) * np.tanh(c), c])


def gru(x, state, weights, reset_after=False):
    """Keras's: its z is the article's 1 - z."""
    w, u, b = weights
    b, b_recurrent = b if reset_after else (b, np.zeros_like(b))
    wz, wr, wh = np.split(x @ w + b, 3)
    uz, ur, uh = np.split(u, 3, axis=1)
    bz, br, bh = np.split(b_recurrent, 3)
    z, r = sigmoid(wz + state @ uz + bz), sigmoid(wr + state @ ur + br)
    candidate = r * (state @ uh + bh) if reset_after else (r * state) @ uh
    return z * state + (1 - z) * np.tanh(wh + candidate)


def output_reset(x, state, weights):
    w, u, b = weights
    h, c = np.split(state, 2)
    z, r, chat = np.split(x @ w + h @ u + b, 3)
    z, r = sigmoid(z), sigmoid(r)
    c = (1 - z) * c + z * np.tanh(chat)
    return np.concatenate([r * c, c])


def jacobian(function, x, size=1e-30):
    """`d function / d x`, rows are outputs."""
    units = np.eye(len(x)) * size * 1j
    return np.stack([np.imag(function(x + unit)) / size for unit in units], axis=1)


def jacobians_by_lag(step, xs, state):
    """`d s_T / d s_t` of all states, for the lags 0 to T - 1, and the states s_0 to s_T."""
    states = [state]
    for x in xs:
        states.append(step(x, states[-1]))
    products = [np.eye(len(state))]
    for t in range(len(xs) - 1, 0, -1):
        products.append(products[-1] @ jacobian(lambda s, t=t: step(xs[t], s), states[t]))
    return products, states


def lstm_derivative(c, o, x, weights):
    """dc_t/dc_(t-1) of one unit (SPEC C1): of the memory and the gate o of the step before."""
    w, u, b = weights
    h = o * np.tanh(c)
    i, f, chat, _ = (w * x + u * h + b).T
    i, f, chat = sigmoid(i), sigmoid(f), np.tanh(chat)
    u_i, u_f, u_c, _ = u
    slope = o * (1 - np.tanh(c) ** 2)
    return (
        f
        + f * (1 - f) * slope * c * u_f
        + i * (1 - i) * slope * chat * u_i
        + (1 - chat**2) * slope * i * u_c
    )


def gru_derivative(h, x, weights):
    """dh_t/dh_(t-1) of one unit (SPEC C1), weights of z, r and the candidate."""
    w, u, b = weights
    u_z, u_r, u_h = u
    z, r = (sigmoid(w[k] * x + u[k] * h + b[k]) for k in (0, 1))
    candidate = np.tanh(w[2] * x + u_h * r * h + b[2])
    return (
        1
        - z
        - z * (1 - z) * h * u_z
        + z * (1 - z) * candidate * u_z
        + (1 - candidate**2) * r * (1 + (1 - r) * h * u_r) * z * u_h
    )


def gradient_penalty_sides(x, layers, f):
    """Both sides of the inequality for one sample, sums over the layers.

    `layers` holds `(kernel, bias or None, activation)`; f is a function of the last layer's output.
    """

    def pre_activation(t, h):
        kernel, bias, _ = layers[t]
        return h @ kernel + (0 if bias is None else bias)

    def outputs(h, first, last):
        """What layer `last - 1` gives for the input h of layer `first`."""
        for t in range(first, last):
            h = layers[t][2](pre_activation(t, h))
        return h

    scalar = lambda h, first: np.atleast_1d(f(outputs(h, first, len(layers))))  # noqa: E731
    left = right = 0.0
    for t, (kernel, bias, activation) in enumerate(layers):
        h = outputs(x, 0, t)
        by_x = jacobian(lambda x, t=t: outputs(x, 0, t), x) if t else np.eye(len(x))
        length = (bias is not None) + h @ h
        by_a = jacobian(
            lambda a, t=t, activation=activation: scalar(activation(a), t + 1), pre_activation(t, h)
        )
        left += length / (np.linalg.norm(kernel, 2) * np.linalg.norm(by_x, 2)) ** 2
        right += length * np.sum(by_a**2)
    return left * np.sum(jacobian(lambda x: scalar(x, 0), x) ** 2), right
