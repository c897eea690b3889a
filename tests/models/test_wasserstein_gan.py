"""Wasserstein GANs: a step of every kind against NumPy, what training comes to, resumed runs."""

import itertools
from unittest import mock

import keras
import numpy as np
import pytest
from contract import check_config, to_numpy
from scipy.spatial.distance import cdist

from kexue_keras import models, similarity

LATENT, SIZE, BATCH, RATE, STEPS = 2, 3, 5, 0.1, 2
DATA = np.random.default_rng(0).normal(size=(2 * BATCH, SIZE)).astype("float32")
KINDS = {
    "clip": {"lipschitz": "clip", "clip": 0.4},
    "centre 1": {"lipschitz": "gradient_penalty"},
    "centre 0": {"lipschitz": "gradient_penalty", "center": 0.0},
    "spectral": {"lipschitz": "spectral"},
    "c-transform": {"lipschitz": "c_transform"},
}
FACTORS = {"centre 1": (10.0, 1.0, 2.0), "centre 0": (2.0, 0.0, 6.0)}


def network(inputs, outputs, seed, width=4, dropout=0.0, **options):
    layers = [keras.layers.Dense(width, "tanh", **options)]
    layers += [keras.layers.Dropout(dropout, seed=seed)] if dropout else []
    model = keras.Sequential([keras.Input((inputs,)), *layers, keras.layers.Dense(outputs)])
    generator = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(0, 0.6, weight.shape))
    return model


def gan(kind="clip", dropout=0.0, critic_steps=STEPS, **options):
    parts = network(LATENT, SIZE, 1, dropout=dropout), network(SIZE, 1, 2, dropout=dropout)
    return models.WassersteinGAN(
        *parts, **{**KINDS[kind], "critic_steps": critic_steps, "seed": 3, **options}
    )


def compiled(model, make=lambda: keras.optimizers.SGD(RATE), **options):
    model.compile(make(), make(), **options)
    return model


def fit(model, data=DATA, epochs=1, **options):
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **options}
    return model.fit(data, epochs=epochs, **options).history


# ---- one step in NumPy


def run_network(weights, x):
    kernel, bias, last, last_bias = weights
    return np.tanh(x @ kernel + bias) @ last + last_bias


def slope(weights, x):
    kernel, bias, last, _ = weights
    return ((1 - np.tanh(x @ kernel + bias) ** 2) * last[:, 0]) @ kernel.T


def distances(x, y):
    return np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))


def transformed(psi, x, y):
    rows = distances(x, y) - psi[:, None]
    return rows[rows.real.argmin(0), np.arange(len(y))]


def estimate(kind, critic, x, y):
    psi = run_network(critic, x)[:, 0]
    if kind == "c-transform":
        return psi.mean() + transformed(psi, x, y).mean()
    return psi.mean() - run_network(critic, y).mean()


def critic_loss(kind, critic, x, y, share):
    loss = -estimate(kind, critic, x, y)
    if kind in FACTORS:
        factor, center, power = FACTORS[kind]
        norms = np.sqrt((slope(critic, share * x + (1 - share) * y) ** 2).sum(1))
        loss = loss + factor * (((norms - center) ** 2) ** (power / 2)).mean()
    return loss


def generator_loss(kind, generator, critic, x, codes):
    y = run_network(generator, codes)
    if kind == "c-transform":
        return transformed(run_network(critic, x)[:, 0], x, y).mean()
    return -run_network(critic, y).mean()


def descended(loss, weights):
    """A step of gradient descent, by the complex-step derivative; and the loss."""
    after = []
    for index, weight in enumerate(weights):
        gradient = np.zeros(weight.shape)
        for place in np.ndindex(weight.shape):
            moved = [w.astype("complex128") for w in weights]
            moved[index][place] += 1e-30j
            gradient[place] = loss(moved).imag / 1e-30
        after.append(weight - RATE * gradient)
    return after, loss(weights)


def bounded(kind, critic):
    if kind == "clip":
        return [np.clip(w, -0.4, 0.4) for w in critic]
    if kind == "spectral":
        return [w / np.linalg.norm(w, 2) if w.ndim == 2 else w for w in critic]
    return critic


def draws():
    """Codes and shares of a step, the same on every backend and in NumPy."""
    generator = np.random.default_rng(7)
    codes = generator.normal(size=(STEPS + 1, BATCH, LATENT)).astype("float32")
    return codes, generator.uniform(size=(STEPS, BATCH, 1)).astype("float32")


@pytest.mark.eager
@pytest.mark.parametrize("kind", KINDS)
def test_one_step_equals_numpy(kind):
    """Two steps of the critic and one of the generator: all weights, and what is reported."""
    model, (codes, shares) = gan(kind), draws()
    x = DATA[:BATCH].astype("float64")
    parts = (
        [w.astype("float64") for w in part.get_weights()]
        for part in (model.generator, model.critic)
    )
    generator, critic = parts
    losses, found_distances = [], []
    for i in range(STEPS):
        y = run_network(generator, codes[i])
        found_distances.append(estimate(kind, critic, x, y))
        critic, loss = descended(lambda w, y=y, i=i: critic_loss(kind, w, x, y, shares[i]), critic)
        critic = bounded(kind, critic)
        losses.append(loss)
    generator, loss = descended(lambda w: generator_loss(kind, w, critic, x, codes[-1]), generator)

    left = itertools.cycle(codes), itertools.cycle(shares)
    convert = lambda values: lambda *args, **kwargs: keras.ops.convert_to_tensor(next(values))  # noqa: E731
    with (
        mock.patch.object(keras.random, "normal", convert(left[0])),
        mock.patch.object(keras.random, "uniform", convert(left[1])),
    ):
        logs = compiled(model).train_on_batch(DATA[:BATCH], return_dict=True)
    tolerance = 5e-3 if kind == "spectral" else 1e-5  # one power iteration a step
    assert float(logs["loss"]) == pytest.approx(loss, rel=tolerance, abs=1e-5)
    assert float(logs["critic_loss"]) == pytest.approx(np.mean(losses), rel=tolerance, abs=1e-5)
    assert float(logs["distance"]) == pytest.approx(
        np.mean(found_distances), rel=tolerance, abs=1e-5
    )
    assert set(logs) == {"loss", "critic_loss", "distance"} | (
        {"penalty"} if kind in FACTORS else set()
    )
    for part, expected in ((model.critic, critic), (model.generator, generator)):
        for weight, value in zip(part.get_weights(), expected, strict=True):
            np.testing.assert_allclose(weight, value, rtol=10 * tolerance, atol=tolerance)


# ---- training


def spectral_norms(model):
    return [np.linalg.norm(w, 2) for w in model.critic.get_weights() if w.ndim == 2]


@pytest.mark.eager
def test_weights_stay_clipped_and_kernels_normalized():
    model = compiled(gan("clip", clip=0.05))
    fit(model, epochs=2)
    assert max(np.abs(w).max() for w in model.critic.get_weights()) <= 0.05 + 1e-7
    assert max(np.abs(w).max() for w in model.generator.get_weights()) > 0.05
    model = compiled(gan("spectral"), lambda: keras.optimizers.Adam(0.01))
    assert max(spectral_norms(model)) > 1.2
    fit(model, epochs=8)
    assert max(spectral_norms(model)) <= 1 + 1e-3 and min(spectral_norms(model)) > 0.95


def shifted(n, seed, by):
    return np.random.default_rng(seed).normal(size=(n, SIZE)).astype("float32") + by


def exact(x, y):
    mass = np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y))
    return similarity.wasserstein_distance(*mass, cdist(x, y))


def test_the_critic_comes_near_to_the_exact_distance():
    """With a generator that stands still; the c-transform from below, on every pair of batches."""
    found = {}
    for kind in ("centre 1", "c-transform"):
        parts = network(LATENT, SIZE, 1), network(SIZE, 1, 2, width=32)
        model = models.WassersteinGAN(*parts, seed=0, critic_steps=1, **KINDS[kind])
        for weight in model.generator.weights[:1]:
            weight.assign(keras.ops.zeros_like(weight.value))  # one point
        model.compile(keras.optimizers.SGD(0.0), keras.optimizers.Adam(0.02))
        x = shifted(32, 0, 0.0)
        y = model.sample(32, seed=0)
        history = fit(model, np.tile(x, (200, 1)), batch_size=32)
        found[kind] = model.distance(x, y), history["distance"][-1]
    distance = exact(x, y)
    assert 0.9 * distance < found["c-transform"][0] <= distance + 1e-4
    assert found["c-transform"][1] <= distance + 1e-4
    assert found["centre 1"][0] == pytest.approx(distance, rel=0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_the_distance_of_given_batches(kind):
    """By hand from the critic's values; of the c-transform never above the exact one."""
    model = gan(kind)
    x, y = DATA[:BATCH], DATA[BATCH:] + 1
    weights = model.critic.get_weights()
    expected = estimate(kind, weights, x, y)
    assert model.distance(x, y) == pytest.approx(expected, abs=1e-5)
    if kind == "c-transform":
        assert expected <= exact(x, y)


def test_the_generator_finds_the_data():
    """Points around (3, 3, 3); the samples come there from around 0."""
    data = shifted(64, 1, 3.0)
    model = models.WassersteinGAN(
        network(LATENT, SIZE, 1, width=16),
        network(SIZE, 1, 2, width=16),
        "c_transform",
        critic_steps=1,
        seed=0,
    )
    model.compile(keras.optimizers.Adam(0.02), keras.optimizers.Adam(0.02))
    before = exact(data, model.sample(64, seed=1))
    fit(model, np.tile(data, (30, 1)), batch_size=32)
    assert exact(data, model.sample(64, seed=1)) < 0.5 * before


# ---- data, evaluation, files


@pytest.mark.eager
def test_evaluation_reports_without_training():
    model = compiled(gan("centre 1", dropout=0.3))
    history = fit(model, validation_data=DATA[:BATCH])
    assert {"val_loss", "val_distance", "val_penalty", "val_critic_loss"} < set(history)
    before = [to_numpy(v.value) for v in [*model.variables, *model.critic_optimizer.variables]]
    found = [model.evaluate(DATA, batch_size=BATCH, verbose=0, return_dict=True) for _ in range(2)]
    assert found[0] == found[1]
    after = [to_numpy(v.value) for v in [*model.variables, *model.critic_optimizer.variables]]
    for x, y, variable in zip(before, after, model.variables, strict=False):
        np.testing.assert_array_equal(x, y, variable.path)
    loss = found[0]["critic_loss"]
    assert loss == pytest.approx(-found[0]["distance"] + 10 * found[0]["penalty"], rel=1e-4)


@pytest.mark.eager
def test_a_smaller_last_batch_and_images():
    image = keras.Sequential(
        [keras.Input((LATENT,)), keras.layers.Dense(12), keras.layers.Reshape((2, 2, 3))]
    )
    critic = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            keras.layers.Conv2D(4, 2),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model = models.WassersteinGAN(image, critic, "gradient_penalty", critic_steps=1)
    model.compile("adam")
    data = np.random.default_rng(0).integers(0, 255, (5, 2, 2, 3)).astype("uint8")
    assert np.isfinite(fit(model, data, batch_size=3)["loss"]).all()
    assert model.sample(4).shape == (4, 2, 2, 3)
    assert model.predict(data[:2].astype("float32"), verbose=0).shape == (2, 1)


def test_samples_are_drawn_by_the_seed():
    model = gan()
    same = model.sample(6, seed=1), model.sample(6, seed=1, batch_size=2)
    np.testing.assert_allclose(*same, rtol=1e-5, atol=1e-6)
    codes = np.random.default_rng(1).standard_normal((6, LATENT), "float32")
    expected = run_network(model.generator.get_weights(), codes)
    np.testing.assert_allclose(same[0], expected, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(model.sample(6), model.sample(6))


@pytest.mark.eager
@pytest.mark.parametrize("kind", ["centre 1", "spectral"])
def test_a_resumed_run_is_the_undisturbed_one(kind, tmp_path):
    """Both optimizers, codes, the dropout of both parts and the directions of the kernels."""
    path = tmp_path / "gan.keras"
    make = lambda: keras.optimizers.Adam(0.01)  # noqa: E731
    model = compiled(gan(kind, dropout=0.3), make)
    first = fit(model, epochs=1)
    model.save(path)
    rest = fit(model, epochs=1)
    again = keras.saving.load_model(path)
    assert fit(again, epochs=1) == rest != first
    pairs = zip(
        [*again.variables, *again.optimizer.variables, *again.critic_optimizer.variables],
        [*model.variables, *model.optimizer.variables, *model.critic_optimizer.variables],
        strict=True,
    )
    for x, y in pairs:
        np.testing.assert_array_equal(to_numpy(x.value), to_numpy(y.value), x.path)
    np.testing.assert_array_equal(again.sample(3, seed=0), model.sample(3, seed=0))


@pytest.mark.eager
def test_mixed_precision_scales_both_losses(tmp_path):
    def scaled():
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), initial_scale=32.0)

    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = gan("centre 1")
    finally:
        keras.config.set_dtype_policy("float32")
    found = fit(compiled(model, scaled), epochs=2)
    for optimizer in (model.optimizer, model.critic_optimizer):
        assert float(optimizer.dynamic_scale) == 32  # no step was left out
    expected = fit(compiled(gan("centre 1"), lambda: keras.optimizers.Adam(0.01)), epochs=2)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0.02, atol=0.02)
    model.compile("adam")
    for optimizer in (model.optimizer, model.critic_optimizer):
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    model.save(tmp_path / "half.keras")
    again = keras.saving.load_model(tmp_path / "half.keras")
    assert isinstance(again.critic_optimizer, keras.optimizers.LossScaleOptimizer)


def test_the_config_and_what_is_refused():
    for kind in KINDS:
        check_config(gan(kind))
    generator, critic = network(LATENT, SIZE, 1), network(SIZE, 1, 2)
    for options, message in (
        ({"lipschitz": "wish"}, r"`lipschitz` must be one of \('clip', .*Received: 'wish'"),
        ({"critic_steps": 0}, "`critic_steps` must be a positive integer. Received: 0"),
        ({"clip": -1.0}, "`clip` must be positive. Received: -1.0"),
        ({"penalty": -1}, "`penalty` must be at least 0. Received: -1"),
        ({"center": float("nan")}, "`center` must be at least 0. Received: nan"),
        ({"power": 0.5}, "`power` must be at least 1. Received: 0.5"),
    ):
        with pytest.raises(ValueError, match=message):
            models.WassersteinGAN(generator, critic, **options)
    with pytest.raises(ValueError, match="`y` must be None"):
        compiled(gan()).fit(DATA, DATA, verbose=0)
