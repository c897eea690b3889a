"""A small model of three tasks that disagree, and its training in NumPy."""

import keras
import numpy as np
from references import multitask
from strategy_models import fill

RNG = np.random.default_rng(4)
SIZE, HIDDEN, TASKS, BATCH = 3, 4, ("a", "b", "c"), 4
X = RNG.normal(size=(8, SIZE)).astype("float32")
# tasks that disagree, of very different scales
TARGETS = (RNG.normal(size=(8, 1)), None, 5 * RNG.normal(size=(8, 1)))
TARGETS = [TARGETS[0], 0.3 - TARGETS[0], TARGETS[2]]
Y = {name: y.astype("float32") for name, y in zip(TASKS, TARGETS, strict=True)}
WEIGHTS = {name: np.linspace(0.5, 1.5 + k, 8) for k, name in enumerate(TASKS)}


def model_of(kind=dict, dtype=None, dropout=0.0, regularizer=None):
    """A shared layer and a linear head for each task."""
    inputs = keras.Input((SIZE,))
    x = keras.layers.Dense(
        HIDDEN, "tanh", use_bias=False, name="shared", dtype=dtype, kernel_regularizer=regularizer
    )(inputs)
    if dropout:
        x = keras.layers.Dropout(dropout, seed=1)(x)
    heads = [keras.layers.Dense(1, use_bias=False, name=name, dtype=dtype)(x) for name in TASKS]
    return fill(
        keras.Model(inputs, dict(zip(TASKS, heads, strict=True)) if kind is dict else heads)
    )


def compiled(model, optimizer=None, loss="mse", **options):
    optimizer = keras.optimizers.SGD(0.05) if optimizer is None else optimizer
    model.compile(optimizer, {name: loss for name in TASKS}, **options)
    return model


def fit(model, y=Y, epochs=2, **options):
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **options}
    return model.fit(X, y, epochs=epochs, **options).history


def by_hand(weights, way, sample_weight, epochs=2):
    """The training in NumPy; returns the weights, and the mean over batches of the factors and
    of the cosines of an epoch."""
    weighting, combine = way.get("weighting", "equal"), way.get("combine", "sum")
    main = way.get("main")
    main = [main] if isinstance(main, str) else main
    main = main and [TASKS.index(i) if isinstance(i, str) else i for i in main]
    kernel, *heads = [w.astype("float64") for w in weights]
    initial, factors, cosines = None, [], []
    for _ in range(epochs):
        for start in range(0, len(X), BATCH):
            part = slice(start, start + BATCH)
            hidden = np.tanh(X[part] @ kernel)
            losses, shared, own = [], [], []
            for name, head in zip(TASKS, heads, strict=True):
                share = sample_weight[name][part, None] / BATCH
                error = hidden @ head - Y[name][part]
                losses.append((share * error**2).sum())
                by_output = 2 * share * error
                own.append(hidden.T @ by_output)
                shared.append(X[part].T @ (by_output @ head.T * (1 - hidden**2)))
            rows = np.stack([g.ravel() for g in shared])
            initial = losses if initial is None else initial
            w = {
                "equal": lambda: np.ones(3),
                "initial": lambda initial=initial: multitask.inverse_weights(initial),
                "prior": lambda: multitask.inverse_weights(way["prior"]),
                "geometric": lambda losses=losses: multitask.inverse_weights(losses),
                "generalized_mean": lambda losses=losses: multitask.generalized_mean_weights(
                    losses, way["gamma"]
                ),
                "gradient_norm": lambda rows=rows: multitask.gradient_norm_weights(rows),
            }[weighting]()
            weighted = rows * w[:, None]
            group = main or (range(3) if combine == "min_norm" else None)
            factor = w if group is None else w * multitask.mixed(weighted @ weighted.T, group)
            kernel = kernel - 0.05 * (factor @ rows).reshape(kernel.shape)
            heads = [h - 0.05 * wi * g for h, wi, g in zip(heads, w, own, strict=True)]
            factors.append(factor)
            units = rows / np.linalg.norm(rows, axis=1)[:, None]
            cosines.append((units @ units.T)[np.triu_indices(3, 1)])
    last = slice(-len(X) // BATCH, None)
    return [kernel, *heads], np.mean(factors[last], 0), np.mean(cosines[last], 0)
