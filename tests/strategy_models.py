"""Small models for the tests of training strategies, and the same training in NumPy.

`losses_of` trains a bag of words with gradients written by hand, in float64; a second derivative
is the complex-step derivative of the first, exact to the last digits.

    python tests/strategy_models.py     # prints BERT_LOSSES, made with Keras's own steps alone
"""

import keras
import numpy as np

from kexue_keras import models, training
from kexue_keras.experiments.run import Run
from kexue_keras.layers import Embedding

RNG = np.random.default_rng(0)
VOCABULARY, SIZE, CLASSES, LENGTH, BATCH, RATE = 9, 4, 3, 5, 4, 0.2
TOKENS = RNG.integers(0, VOCABULARY, (8, LENGTH)).astype("int32")
LABELS = RNG.integers(0, CLASSES, 8)
WEIGHTS = np.linspace(0.5, 2.0, 8).astype("float32")
EPOCHS = 3


def adversarial(model, embedding="words", epsilon=0.5):
    return training.AdversarialTraining(model, embedding, epsilon)


def penalty(model, embedding="words", weight=2.0):
    return training.GradientPenalty(model, embedding, weight)


STRATEGIES = {
    "adversarial": adversarial,
    "penalty": penalty,
    "adversarial_penalty": lambda model, name="words": adversarial(penalty(model, name), name),
    "penalty_adversarial": lambda model, name="words": penalty(adversarial(model, name), name),
}


def fill(model, seed=5):
    generator = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(0.5 * generator.normal(weight.name == "gamma", 1.0, weight.shape))
    return model


def bag_of_words(regularized=False, dtype=None, dropout=0.0, normalized=False, embedding=None):
    """Token ids to logits by way of the mean of the embeddings and a tanh."""
    l2 = keras.regularizers.L2
    options = {"embeddings_regularizer": l2(0.01)} if regularized else {}
    kernel = l2(0.02) if regularized else None
    make = embedding or keras.layers.Embedding
    tokens = keras.Input((LENGTH,), dtype="int32", name="tokens")
    x = make(VOCABULARY, SIZE, name="words", dtype=dtype, **options)(tokens)
    x = keras.layers.GlobalAveragePooling1D(dtype=dtype)(x)
    if normalized:
        x = keras.layers.BatchNormalization(name="norm", dtype=dtype)(x)
    x = keras.layers.Activation("tanh", dtype=dtype)(x)
    if dropout:
        x = keras.layers.Dropout(dropout, seed=3, name="dropout", dtype=dtype)(x)
    x = keras.layers.Dense(CLASSES, kernel_regularizer=kernel, name="logits", dtype=dtype)(x)
    return fill(keras.Model(tokens, x, name="bag_of_words"))


def nested():
    """The same model, a model inside a model inside a model."""
    inner = bag_of_words()
    middle = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), inner])
    tokens = keras.Input((LENGTH,), dtype="int32")
    return keras.Model(tokens, middle(tokens))


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """The same model, whose weights exist only after the first batch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.words = Embedding(VOCABULARY, SIZE, name="words", embeddings_initializer="ones")
        self.logits = keras.layers.Dense(CLASSES, kernel_initializer="ones")

    def call(self, tokens):
        return self.logits(keras.ops.tanh(keras.ops.mean(self.words(tokens), 1)))


def two_outputs(kind):
    tokens = keras.Input((LENGTH,), dtype="int32")
    x = keras.layers.Embedding(VOCABULARY, 4, name="words")(tokens)
    x = keras.layers.Activation("tanh")(keras.layers.GlobalAveragePooling1D()(x))
    classes = keras.layers.Dense(CLASSES, name="classes")(x)
    score = keras.layers.Dense(1, name="score")(x)
    outputs = {"classes": classes, "score": score} if kind is dict else [classes, score]
    return fill(keras.Model(tokens, outputs))


def bert():
    """A BERT with a head on its pooled output; the inputs are those of `bert_inputs`."""
    transformer = models.build_transformer_model(
        vocab_size=12,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position=8,
        with_pool=True,
    )
    logits = keras.layers.Dense(CLASSES)(transformer.output)
    return fill(keras.Model(transformer.inputs, logits))


def bert_inputs():
    tokens = TOKENS + 1
    tokens[::2, -1] = 0  # padding
    return [tokens, np.tile(np.arange(LENGTH, dtype="int32") // 3, (8, 1))]


def crossentropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


# printed by this file
BERT_LOSSES = {
    "adversarial": [1.2211155787609542, 1.1108437828350268, 1.0872651104408688],
    "penalty": [1.22764116957029, 1.0974342174169416, 1.0786859177417774],
    "adversarial_penalty": [1.1427743232477747, 1.22149073991589, 1.080353809739601],
    "penalty_adversarial": [1.1427743232477747, 1.22149073991589, 1.080353809739601],
}


def compiled(model, optimizer=None, **options):
    optimizer = keras.optimizers.SGD(RATE) if optimizer is None else optimizer
    model.compile(optimizer, crossentropy(), **options)
    return model


def fit(model, inputs=TOKENS, labels=LABELS, epochs=EPOCHS, **options):
    return model.fit(
        inputs, labels, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, **options
    ).history


@keras.saving.register_keras_serializable(package="tests")
class Updates(keras.metrics.Metric):
    """Counts its updates."""

    def __init__(self, name="updates", **kwargs):
        super().__init__(name=name, **kwargs)
        self.count = self.add_weight(initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(1.0)

    def result(self):
        return self.count + 0


def run(strategy, directory=None, epochs=2):
    """Trains a compiled strategy, from where `directory` stands if there is one.

    Returns:
        The losses of the epochs, and the values of all variables.
    """
    callbacks, start = [], 0
    if directory is not None:
        callbacks = [Run(directory, {}, evaluate=dict, monitor="loss")]
        start = callbacks[0].resume(strategy)
    history = fit(strategy, epochs=epochs, initial_epoch=start, callbacks=callbacks)
    return history["loss"], [keras.ops.convert_to_numpy(v.value) for v in strategy.variables]


def assert_the_rest_of(undisturbed, found):
    """`run` resumed after an epoch gives what is left of the undisturbed one, bit for bit."""
    assert found[0] == undisturbed[0][1:]
    for x, y in zip(found[1], undisturbed[1], strict=True):
        np.testing.assert_array_equal(x, y)


# around a strategy; so small that no weight of float32 changes
BARELY_AROUND = {
    "adversarial": lambda strategy: adversarial(strategy, epsilon=1e-30),
    "penalty": lambda strategy: penalty(strategy, weight=1e-30),
}


def numpy_weights(model):
    return [np.array(keras.ops.convert_to_numpy(w.value)) for w in model.trainable_weights]


def value_and_gradients(weights, tokens, labels, sample_weight, regularized=False):
    """Loss and gradients of the bag of words by table, kernel and bias; complex numbers too."""
    table, kernel, bias = weights
    l2 = (0.01, 0.02) if regularized else (0.0, 0.0)
    activations = np.tanh(table[tokens].mean(1))
    logits = activations @ kernel + bias
    logits = logits - logits.real.max(1, keepdims=True)
    logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    scale = sample_weight / len(tokens)
    loss = -(scale * logp[range(len(labels)), labels]).sum()
    loss += l2[0] * (table**2).sum() + l2[1] * (kernel**2).sum()
    by_logits = (np.exp(logp) - np.eye(CLASSES)[labels]) * scale[:, None]
    by_mean = by_logits @ kernel.T * (1 - activations**2)
    by_table = 2 * l2[0] * table
    np.add.at(by_table, tokens, by_mean[:, None] / tokens.shape[1])
    by_kernel = activations.T @ by_logits + 2 * l2[1] * kernel
    return loss, [by_table, by_kernel, by_logits.sum(0)]


def penalized(function, weight):
    """`function` of weights (value and gradients) with the penalty on its gradient by the table."""

    def run(weights):
        value, gradients = function(weights)
        step = 1e-30
        moved = [weights[0] + 1j * step * gradients[0], *weights[1:]]
        seconds = [g.imag / step for g in function(moved)[1]]
        value = value + 0.5 * weight * (gradients[0] ** 2).sum()
        pairs = zip(gradients, seconds, strict=True)
        return value, [g + weight * second for g, second in pairs]

    return run


def perturbed(function, epsilon):
    """`function` at the table moved by `epsilon` along its own gradient."""

    def run(weights):
        _, (by_table, *_) = function(weights)
        shift = epsilon * by_table / np.sqrt((by_table**2).sum())
        return function([weights[0] + shift, *weights[1:]])

    return run


def losses_of(weights, change, sample_weight=None, epochs=EPOCHS, regularized=False):
    """Trains the bag of words by SGD, `change` being applied to the function of every batch.

    Returns the loss of every epoch and the last weights.
    """
    sample_weight = np.ones(len(TOKENS)) if sample_weight is None else sample_weight
    weights, losses = [np.asarray(w, "float64") for w in weights], []
    for _ in range(epochs):
        values = []
        for start in range(0, len(TOKENS), BATCH):
            part = slice(start, start + BATCH)
            batch = (TOKENS[part], LABELS[part], sample_weight[part].astype("float64"))

            def function(weights, batch=batch):
                return value_and_gradients(weights, *batch, regularized)

            value, gradients = change(function)(weights)
            weights = [w - RATE * g for w, g in zip(weights, gradients, strict=True)]
            values.append(value)
        losses.append(np.mean(values))
    return losses, weights


CHANGES = {
    "adversarial": lambda f: perturbed(f, 0.5),
    "penalty": lambda f: penalized(f, 2.0),
    "adversarial_penalty": lambda f: perturbed(penalized(f, 2.0), 0.5),
    "penalty_adversarial": lambda f: perturbed(penalized(f, 2.0), 0.5),
}


def bert_losses(change):
    """What `losses_of` does, of `bert`: gradients are the changes of the weights in a step of plain
    Keras with SGD of rate 1, second derivatives are differences of them."""
    model = bert()
    names = [w.path.split("/")[0] for w in model.trainable_weights]
    position = names.index("Embedding-Token")
    order = [position, *(i for i in range(len(names)) if i != position)]
    variables = [model.trainable_weights[i] for i in order]
    compiled(model, keras.optimizers.SGD(1.0))
    inputs = bert_inputs()

    def function_of(part):
        def function(weights):
            if np.iscomplexobj(weights[0]):
                direction, h = (
                    weights[0].imag / 1e-30,
                    0.004 / np.abs(weights[0].imag / 1e-30).max(),
                )
                at = [(weights[0].real + k * h * direction, weights[1:]) for k in (1, -1, 2, -2)]
                a, b, c, d = (function([table, *rest])[1] for table, rest in at)
                groups = zip(a, b, c, d, strict=True)
                slopes = [(8 * (p - q) - (r - s)) / (12 * h) for p, q, r, s in groups]
                return None, [1j * 1e-30 * slope for slope in slopes]
            for variable, value in zip(variables, weights, strict=True):
                variable.assign(value)
            loss = float(model.train_on_batch([x[part] for x in inputs], LABELS[part]))
            after = [keras.ops.convert_to_numpy(v.value) for v in variables]
            return loss, [w - x for w, x in zip(weights, after, strict=True)]

        return function

    weights = [np.asarray(keras.ops.convert_to_numpy(v.value), "float64") for v in variables]
    losses = []
    for _ in range(EPOCHS):
        values = []
        for start in range(0, len(LABELS), BATCH):
            value, gradients = change(function_of(slice(start, start + BATCH)))(weights)
            weights = [w - RATE * g for w, g in zip(weights, gradients, strict=True)]
            values.append(value)
        losses.append(float(np.mean(values)))
    return losses


if __name__ == "__main__":
    keras.config.set_floatx("float64")
    for name in ("adversarial", "penalty", "adversarial_penalty"):
        print(name, bert_losses(CHANGES[name]))
