"""VAT: the step by hand, the direction it finds, and that it asks for no label."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops
from references.robustness import virtual_perturbation, virtually_adversarial
from strategy_models import (
    BATCH,
    CLASSES,
    LABELS,
    SIZE,
    TOKENS,
    VOCABULARY,
    WEIGHTS,
    bag_of_words,
    compiled,
    fit,
    losses_of,
    numpy_weights,
    two_outputs,
)

from kexue_keras import losses, training
from kexue_keras.training.virtual_adversarial_training import divergence_of

OPTIONS = {"epsilon": 0.7, "xi": 2.0, "weight": 1.5, "seed": 7}


def vat(model, **options):
    return training.VirtualAdversarialTraining(model, "words", **{**OPTIONS, **options})


def starts():
    """The random directions of the steps, drawn as the strategy draws them."""
    generator = keras.random.SeedGenerator(OPTIONS["seed"])
    while True:
        yield to_numpy(keras.random.normal((VOCABULARY, SIZE), seed=generator)).astype("float64")


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_losses_and_weights_are_those_of_numpy(iterations):
    """With sample weights, which the divergence does not know."""
    model = bag_of_words(regularized=True)
    before, drawn = numpy_weights(model), starts()
    batches = (TOKENS[i : i + BATCH] for _ in range(3) for i in range(0, len(TOKENS), BATCH))
    options = {name: OPTIONS[name] for name in ("epsilon", "xi", "weight")}

    def change(function):
        tokens, start = next(batches), next(drawn)
        return virtually_adversarial(function, tokens, start, iterations=iterations, **options)

    history = fit(compiled(vat(model, iterations=iterations)), sample_weight=WEIGHTS)
    values, weights = losses_of(before, change, WEIGHTS, regularized=True)
    np.testing.assert_allclose(history["loss"], values, rtol=1e-4)
    for x, y in zip(numpy_weights(model), weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5)


def test_samples_of_weight_zero_count_for_the_regularizer_alone():
    """Whatever their labels; and they move the weights."""
    weight = np.array([1, 0, 1, 0, 0, 0, 0, 0], "float32")
    found = []
    for labels in (LABELS, np.where(weight, LABELS, (LABELS + 1) % CLASSES)):
        model = bag_of_words()
        fit(compiled(vat(model)), labels=labels, sample_weight=weight, epochs=1)
        found.append(numpy_weights(model))
    plain = bag_of_words()
    fit(compiled(plain), sample_weight=weight, epochs=1)
    for a, b, c in zip(*found, numpy_weights(plain), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - c).max() > 1e-4


def test_the_direction_is_the_top_eigenvector_and_worse_than_a_random_one():
    """Of a linear model of one token: p = softmax(W x), Hessian W^T (diag p - p p^T) W."""
    rng = np.random.default_rng(2)
    w, x = rng.normal(size=(4, 3)), rng.normal(size=4)
    logits = x @ w
    p = np.exp(logits - logits.max())
    p /= p.sum()
    hessian = w @ (np.diag(p) - np.outer(p, p)) @ w.T
    top = np.linalg.eigh(hessian)[1][:, -1]
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="int32"),
            keras.layers.Embedding(1, 4, name="words"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    model.set_weights([x[None], w, np.zeros(3)])
    moved = []

    class Spy(keras.losses.Loss):
        def call(self, y_true, y_pred):
            moved.append(y_pred)
            return losses.CategoricalDivergence(True).call(y_true, y_pred)

    strategy = training.VirtualAdversarialTraining(
        model, "words", epsilon=0.02, xi=0.05, iterations=12, divergence=Spy(), seed=1
    )
    compiled(strategy, keras.optimizers.SGD(0.0), run_eagerly=True, jit_compile=False)
    if keras.backend.backend() == "jax":
        pytest.skip("looks at numbers inside a step, which JAX compiles")
    strategy.train_on_batch(np.zeros((1, 1), "int32"), np.zeros(1, "int32"))
    shift = to_numpy(moved[-1])[0] - logits
    expected = 0.02 * top @ w
    cosine = shift @ expected / np.linalg.norm(shift) / np.linalg.norm(expected)
    assert abs(cosine) > 1 - 1e-3
    assert np.linalg.norm(shift) == pytest.approx(np.linalg.norm(expected), rel=1e-2)


def test_the_divergence_is_larger_than_in_random_directions():
    model = bag_of_words()
    weights = [w.astype("float64") for w in numpy_weights(model)]
    values = {}
    for iterations in (0, 3):
        total = []
        for seed in range(12):
            start = np.random.default_rng(seed).normal(size=(VOCABULARY, SIZE))
            function = virtually_adversarial(
                lambda w: (0.0, [0.0] * 3), TOKENS, start, epsilon=0.1, iterations=iterations
            )
            total.append(function(weights)[0])
        values[iterations] = total
    assert min(values[3]) > max(values[0])
    one = virtual_perturbation(weights, TOKENS, start, epsilon=0.1)
    assert np.sqrt((one**2).sum()) == pytest.approx(0.1)


def test_passes_leave_no_trace_and_share_their_dropout():
    """With epsilon near zero both predictions are one, and only then the divergence vanishes."""
    found = {}
    for epsilon in (0.0, 1e-20):
        model = bag_of_words(normalized=True, dropout=0.5)
        strategy = vat(model, epsilon=epsilon)
        loss = compiled(strategy, metrics=["accuracy"]).train_on_batch(TOKENS, LABELS)
        seed = to_numpy(model.get_layer("dropout").seed_generator.state.value).tolist()
        found[epsilon] = [*map(float, loss), *seed], numpy_weights(model)
        found[epsilon] += (to_numpy(model.get_layer("norm").moving_mean.value),)
    assert found[0.0][0] == pytest.approx(found[1e-20][0], rel=1e-6)
    np.testing.assert_allclose(found[0.0][2], found[1e-20][2], rtol=1e-6)
    for a, b in zip(found[0.0][1], found[1e-20][1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_directions_go_on_after_a_reload(tmp_path):
    def train(strategy):
        return fit(compiled(strategy, "adam"), epochs=1)["loss"]

    whole = vat(bag_of_words())
    train(whole)
    whole.save(tmp_path / "vat.keras")
    again = keras.saving.load_model(tmp_path / "vat.keras")
    np.testing.assert_array_equal(
        to_numpy(again.seed_generator.state.value), to_numpy(whole.seed_generator.state.value)
    )
    assert to_numpy(whole.seed_generator.state.value)[1] > 0
    losses_ = [fit(strategy, epochs=1)["loss"] for strategy in (again, whole)]
    np.testing.assert_allclose(*losses_, rtol=1e-6)


def test_several_outputs_each_have_their_distance():
    model = two_outputs(dict)
    strategy = training.VirtualAdversarialTraining(model, "words", seed=1)
    compiled_losses = {"classes": keras.losses.SparseCategoricalCrossentropy(True), "score": "mse"}
    strategy.compile("sgd", compiled_losses, loss_weights={"classes": 2.0, "score": 0.5})
    before = model(TOKENS)
    moved = {name: value + 0.3 for name, value in before.items()}
    moved["classes"] = moved["classes"] * np.array([1.0, 2.0, 3.0], "float32")
    labels = {"classes": LABELS, "score": WEIGHTS[:, None]}
    strategy.train_on_batch(TOKENS, labels)
    found = float(strategy._distance(strategy, before, moved))
    kl = losses.CategoricalDivergence(True)(before["classes"], moved["classes"])
    assert found == pytest.approx(2.0 * float(kl) + 0.5 * 0.09, rel=1e-4)


def test_distances_that_go_with_losses():
    def kind(loss):
        found = divergence_of(loss, "x")
        return type(found).__name__, getattr(found, "from_logits", None)

    k = keras.losses
    assert kind(k.CategoricalCrossentropy()) == ("CategoricalDivergence", False)
    assert kind(k.SparseCategoricalCrossentropy(True)) == ("CategoricalDivergence", True)
    assert kind(k.BinaryCrossentropy(from_logits=True)) == ("BinaryDivergence", True)
    assert kind(losses.MultilabelCategoricalCrossentropy()) == ("BinaryDivergence", True)
    assert kind(k.MeanSquaredError())[0] == "MeanSquaredError"
    with pytest.raises(ValueError, match="`divergence` must be given.*'mean_absolute_error'.*'x'"):
        divergence_of(k.MeanAbsoluteError(), "x")
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(VOCABULARY, 3, name="words"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    strategy = training.VirtualAdversarialTraining(model, "words")
    strategy.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(float(ops.convert_to_numpy(strategy.train_on_batch(TOKENS, LABELS))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": -1}, "`epsilon` must be at least 0. Received: -1"),
        ({"weight": float("nan")}, "`weight` must be at least 0. Received: nan"),
        ({"xi": 0}, "`xi` must be above 0. Received: 0"),
        ({"iterations": 1.5}, "`iterations` must be a whole number of at least 0. Received: 1.5"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        vat(bag_of_words(), **options)
