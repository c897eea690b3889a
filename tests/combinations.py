"""Every training strategy, and every pair of them, on a task that they can learn.

python tests/combinations.py        # prints LOSSES
"""

import contextlib
from unittest import mock

import keras
import numpy as np
from keras import ops
from strategy_models import Updates

from kexue_keras import layers, losses, models, training

VOCABULARY, LENGTH, CLASSES, BATCH, EPOCHS = 7, 4, 3, 4, 3
TOKENS = np.array([[1 + i % 3, 4, 5, 6 - i % 2] for i in range(8)], "int32")
LABELS = (TOKENS[:, 0] - 1).astype("int32")
SCORES = (TOKENS[:, :1] - 2).astype("float32")
WEIGHTS = np.linspace(0.5, 1.5, 8).astype("float32")
NEXT = np.roll(TOKENS, -1, 1)


# ---- draws that do not depend on the backend


def _wave(shape, seed):
    state = ops.cast(seed.next(), "float32")
    places = ops.reshape(ops.arange(int(np.prod(shape, dtype=int)), dtype="float32"), shape)
    return 0.9 * places + 1.7 * state[0] + 2.3 * state[1]


def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    return ops.cast(mean + stddev * 1.4 * ops.sin(_wave(shape, seed)), dtype or "float32")


def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    part = 0.5 + 0.499 * ops.sin(_wave(shape, seed))
    return ops.cast(minval + (maxval - minval) * part, dtype or "float32")


def categorical(logits, num_samples, dtype="int32", seed=None):
    shape = (num_samples, *logits.shape)
    noise = -ops.log(-ops.log(uniform(shape, seed=seed)))
    return ops.transpose(ops.cast(ops.argmax(logits + noise, axis=-1), dtype))


@contextlib.contextmanager
def the_same_draws():
    """The draws of strategies are waves in place of what each backend has of its own."""
    with contextlib.ExitStack() as stack:
        for function in (normal, uniform, categorical):
            stack.enter_context(mock.patch.object(keras.random, function.__name__, function))
        yield


# ---- models


def fill(model):
    generator = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(weight.name == "gamma", 0.4, weight.shape))
    return model


def encoder():
    tokens = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(VOCABULARY, 4, name="Embedding-Token")(tokens)
    x = keras.layers.Flatten()(x)
    return tokens, keras.layers.Dense(4, activation="tanh", kernel_regularizer="l2")(x)


def classifier(activation=None):
    tokens, x = encoder()
    return fill(keras.Model(tokens, keras.layers.Dense(CLASSES, activation=activation)(x)))


def of_two_tasks():
    tokens, x = encoder()
    outputs = [keras.layers.Dense(CLASSES, name="kind")(x), keras.layers.Dense(1, name="score")(x)]
    return fill(keras.Model(tokens, outputs))


def language_model():
    return fill(
        models.Bert(VOCABULARY, 4, 1, 2, 8, application="lm", with_mlm="linear", max_position=4,
                    segment_vocab_size=0)
    )  # fmt: skip


# ---- strategies


@keras.saving.register_keras_serializable(package="tests")
def share_of_right(y_true, sampled):
    return ops.cast(
        ops.equal(ops.reshape(ops.cast(y_true, sampled.dtype), (-1,)), sampled), "float32"
    )


@keras.saving.register_keras_serializable(package="tests")
def error_of(y_true, y_pred):
    wrong = ops.not_equal(ops.cast(ops.reshape(y_true, (-1,)), "int32"), ops.argmax(y_pred, -1))
    return ops.cast(wrong, "float32")


NAME = "Embedding-Token"
INNERMOST = {
    "multi": lambda m: training.MultiTask(m, combine="min_norm"),
    "policy": lambda m: training.PolicyGradient(m, share_of_right, samples=32, seed=1),
    "search": lambda m: training.GuidedParameterSearch(m, error_of, candidates=3, seed=2),
    "tea": lambda m: training.TeaForN(m, steps=2),
    "zeroth": lambda m: training.ZerothOrder(m, sigma=0.01, samples=8, seed=3),
}


def vat(model):
    inner = model
    while isinstance(inner, training.Strategy):
        inner = inner.model
    logits = not isinstance(model, training.PolicyGradient)
    divergence = None if len(inner.outputs) > 1 else losses.CategoricalDivergence(logits)
    return training.VirtualAdversarialTraining(
        model, NAME, 0.3, xi=1.0, seed=4, divergence=divergence
    )


AROUND = {
    "adversarial": lambda m: training.AdversarialTraining(m, NAME, 0.2),
    "penalty": lambda m: training.GradientPenalty(m, NAME, 0.3),
    "vat": vat,
}
STRATEGIES = {**AROUND, **INNERMOST}
BASES = {
    "multi": of_two_tasks,
    "policy": lambda: classifier("softmax"),
    "tea": language_model,
}
PAIRS = [(outer, inner) for outer in AROUND for inner in STRATEGIES]
CASES = [(name,) for name in STRATEGIES] + PAIRS
REFUSED = [(outer, inner) for outer in INNERMOST for inner in STRATEGIES]


def make(case):
    """The strategies of a case, the outermost first, around a model for the innermost."""
    model = BASES.get(case[-1], classifier)()
    for name in reversed(case):
        model = STRATEGIES[name](model)
    return model


def data(case):
    if case[-1] == "multi":
        return [LABELS, SCORES]
    return NEXT if case[-1] == "tea" else LABELS


def compiled(case, strategy, optimizer=None, **options):
    rate = {"search": 1.0, "policy": 1.0}.get(case[-1], 0.3)
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = {"multi": [logits, "mse"], "policy": None}.get(case[-1], logits)
    metrics = [[Updates()], []] if case[-1] == "multi" else [Updates()]
    strategy.compile(optimizer or keras.optimizers.SGD(rate), loss, metrics=metrics, **options)
    return strategy


def train(case, strategy, epochs=EPOCHS, weights=WEIGHTS):
    """History of training; the strategy is compiled."""
    weights = {"multi": [weights, weights], "tea": weights[:, None]}.get(case[-1], weights)
    options = {"epochs": epochs, "batch_size": BATCH, "shuffle": False, "verbose": 0}
    return strategy.fit(TOKENS, data(case), sample_weight=weights, **options).history


def name_of(case):
    return "_".join(case)


if __name__ == "__main__":
    with the_same_draws():
        for case in CASES:
            history = train(case, compiled(case, make(case)))
            keras.backend.clear_session()
            print(f'    "{name_of(case)}": {[round(x, 7) for x in history["loss"]]},')
