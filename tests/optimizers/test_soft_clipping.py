"""Both forms of clipping, their norm, and what is around and inside."""

import keras
import numpy as np
import pytest
from contract import check_config, check_serialization, to_numpy
from optimizer_runs import assert_path, check_optimizer, steps, variables_of
from strategy_models import bag_of_words, compiled, fit, numpy_weights
from two_devices import run_on_two_devices

from kexue_keras.optimizers import AdaFactor, SoftClipping

MODES = ("soft", "hard")
RNG = np.random.default_rng(0)
SHAPES = [(3, 4), (5,), ()]
START = [RNG.normal(size=shape) for shape in SHAPES]
GRADIENTS = [[10.0 ** (i % 4 - 2) * RNG.normal(size=s) for s in SHAPES] for i in range(10)]


def clipped(gradients, gamma, mode):
    """The article's formulas over all gradients together, float64."""
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    factor = gamma / (norm + gamma) if mode == "soft" else min(1.0, gamma / norm if norm else 1.0)
    return [factor * g for g in gradients]


def descent(gradients, gamma, mode, rate=0.5):
    theta, path = START, []
    for found in gradients:
        theta = [x - rate * g for x, g in zip(theta, clipped(found, gamma, mode), strict=True)]
        path.append(theta)
    return path


def sgd(rate=0.5, **options):
    return keras.optimizers.SGD(rate, **options)


@pytest.mark.parametrize("mode", MODES)
def test_steps_are_those_of_numpy(mode):
    found = steps(SoftClipping(sgd(), 2.0, mode), variables_of(START), GRADIENTS)
    assert_path(found, descent(GRADIENTS, 2.0, mode))


def test_contract(tmp_path):
    def make(mode="soft"):
        schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 20)
        return SoftClipping(keras.optimizers.Adam(schedule), 0.5, mode)

    check_optimizer(make, tmp_path)
    check_config(make("hard"))
    assert check_serialization(make("hard")).mode == "hard"


def moves(mode, gradients, gamma=1.0):
    """What one step of rate 1 takes from weights at zero."""
    variables = variables_of([np.zeros_like(g) for g in gradients])
    (found,) = steps(SoftClipping(sgd(1.0), gamma, mode), variables, [gradients])
    return [-x for x in found]


def test_the_two_forms_differ_by_a_factor_of_two_at_most():
    """Over twelve decades; the norm is below gamma, and the direction stays."""
    direction = RNG.normal(size=7)
    direction /= np.sqrt((direction**2).sum())
    variables = variables_of([np.zeros(7)])
    norms = 10.0 ** np.linspace(-6, 6, 25)
    found = {}
    for mode in MODES:
        optimizer = SoftClipping(sgd(1.0), 1.0, mode)
        path = steps(optimizer, variables, [[norm * direction] for norm in norms])
        path = np.diff([variables[0].numpy() * 0, *(x[0] for x in path)], axis=0)
        variables[0].assign(np.zeros(7))
        found[mode] = np.sqrt((path**2).sum(1))
        cosines = -(path @ direction) / found[mode]
        # differences of float32 numbers of size 1 and more: small moves are rounded
        np.testing.assert_allclose(cosines[10:], 1, atol=1e-4)
    soft, hard = (np.array([norm * f(norm) for norm in norms]) for f in (
        lambda n: 1 / (n + 1), lambda n: min(1, 1 / n)))  # fmt: skip
    np.testing.assert_allclose(found["soft"], soft, atol=3e-6)
    np.testing.assert_allclose(found["hard"], hard, atol=3e-6)
    assert (0.5 * hard <= soft).all() and (soft <= hard).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1e30, 1e-30, 0.0])
def test_no_square_overflows_and_none_vanishes(mode, size):
    gradients = [np.array([3.0, 0.0]) * size, np.array(4.0) * size]
    expected = clipped(gradients, 1.0, mode)
    for x, y in zip(moves(mode, gradients), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_passed_on(mode, bad):
    x, y = moves(mode, [np.array([bad, 300.0]), np.array(4.0)])
    np.testing.assert_array_equal(x, [bad, 300.0])
    assert y == 4.0


def test_the_quartic_from_ten():
    """Gradient descent of rate 0.1 diverges on theta^4 from 10, the soft form converges."""

    def gradient(theta):
        return [4 * theta[0] ** 3]

    path = steps(SoftClipping(sgd(0.1), 1.0), variables_of([10.0]), [gradient] * 300)
    assert abs(path[-1][0]) < 0.4
    sizes = [abs(x[0]) for x in path]
    assert all(a >= b for a, b in zip(sizes, sizes[1:], strict=False))
    (first, second) = steps(sgd(0.1), variables_of([10.0]), [gradient] * 2)
    assert abs(second[0]) > abs(first[0]) > 100


@pytest.mark.parametrize("mode", MODES)
def test_a_huge_gamma_is_the_optimizer_alone(mode):
    expected = steps(AdaFactor(0.1), variables_of(START), GRADIENTS)
    found = steps(SoftClipping(AdaFactor(0.1), 1e30, mode), variables_of(START), GRADIENTS)
    assert_path(found, expected, rtol=1e-6)
    if mode == "hard":  # then nothing is computed with the gradient
        assert_path(found, expected, rtol=0, atol=0)


def test_the_hard_form_is_keras_s_global_clipnorm():
    expected = steps(
        keras.optimizers.Adam(0.1, global_clipnorm=0.7), variables_of(START), GRADIENTS
    )
    optimizer = SoftClipping(keras.optimizers.Adam(0.1), 0.7, "hard")
    assert_path(steps(optimizer, variables_of(START), GRADIENTS), expected)


@pytest.mark.parametrize("mode", MODES)
def test_accumulated_gradients_are_clipped_as_one(mode):
    """The mean over the steps is, not each part of it."""
    inner = sgd(gradient_accumulation_steps=2)
    optimizer = SoftClipping(inner, 0.5, mode)
    found = steps(optimizer, variables_of(START), GRADIENTS[:6])
    means = [
        [(x + y) / 2 for x, y in zip(a, b, strict=True)]
        for a, b in zip(GRADIENTS[:6:2], GRADIENTS[1:6:2], strict=True)
    ]
    assert_path(found[1::2], descent(means, 0.5, mode))
    assert_path(found[::2], [START, *found[1:5:2]])
    assert int(optimizer.iterations) == 3


def test_the_scale_of_the_loss_does_not_matter():
    """Neither that of `LossScaleOptimizer` around nor a constant one inside."""
    expected = descent(GRADIENTS, 2.0, "soft")
    for optimizer in (
        SoftClipping(sgd(loss_scale_factor=8.0), 2.0),
        keras.optimizers.LossScaleOptimizer(SoftClipping(sgd(), 2.0), initial_scale=8.0),
        keras.optimizers.LossScaleOptimizer(
            SoftClipping(sgd(loss_scale_factor=3.0), 2.0), initial_scale=8.0
        ),
    ):
        variables = variables_of(START)
        optimizer.build(variables)
        assert float(to_numpy(optimizer.scale_loss(keras.ops.ones(())))) == 8.0
        scaled = [[8 * g for g in found] for found in GRADIENTS]
        assert_path(steps(optimizer, variables, scaled), expected)


def test_the_learning_rate_is_the_optimizer_s():
    optimizer = SoftClipping("sgd", 2.0)
    optimizer.learning_rate = 0.25
    assert float(to_numpy(optimizer.optimizer.learning_rate)) == 0.25
    assert float(to_numpy(optimizer.learning_rate)) == 0.25


def test_averaged_weights_are_those_of_the_optimizer():
    """`use_ema` of the optimizer inside takes over at the end of a fit, as without clipping."""
    weights = []
    for make in (lambda x: x, lambda x: SoftClipping(x, 1e9, "hard")):
        optimizer = make(sgd(use_ema=True, ema_momentum=0.5))
        model = compiled(bag_of_words(), optimizer, jit_compile=False)
        fit(model)
        weights.append(numpy_weights(model))
    for x, y in zip(*weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's gradients")
@pytest.mark.parametrize("mode", MODES)
def test_rows_that_occur_twice(mode):
    """Their norm is that of the sum."""
    import tensorflow as tf

    values = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    slices = tf.IndexedSlices(values, tf.constant([3, 1, 3]), (4, 2))
    variable = keras.Variable(np.zeros((4, 2)))
    SoftClipping(sgd(1.0), 2.0, mode).apply([slices], [variable])
    whole = np.array([[0, 0], [3, 4], [0, 0], [6, 8]], "float64")
    np.testing.assert_allclose(-variable.numpy(), clipped([whole], 2.0, mode)[0], rtol=1e-6)


def test_weights_without_a_gradient_are_left_out():
    variables = variables_of([np.zeros(2), np.zeros(2)])
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        SoftClipping(sgd(1.0), 5.0).apply([keras.ops.array([3.0, 4.0]), None], variables)
    np.testing.assert_allclose(to_numpy(variables[0]), [-1.5, -2.0])
    np.testing.assert_array_equal(to_numpy(variables[1]), 0)


def test_half_precision_weights():
    """A norm whose square is beyond float16."""
    gradients = [np.array([300.0, 400.0])]
    variables = variables_of([np.zeros(2)], "float16")
    (found,) = steps(SoftClipping(sgd(1.0), 500.0), variables, [gradients])
    np.testing.assert_allclose(found[0], [-150, -200], rtol=1e-3)


def test_errors():
    with pytest.raises(ValueError, match="`gamma` must be above 0. Received: 0"):
        SoftClipping("adam", 0)
    with pytest.raises(ValueError, match="`gamma` must be above 0. Received: inf"):
        SoftClipping("adam", float("inf"))
    with pytest.raises(ValueError, match='`mode` must be "soft" or "hard". Received: \'firm\''):
        SoftClipping("adam", 1.0, mode="firm")
    scaling = keras.optimizers.LossScaleOptimizer(sgd())
    with pytest.raises(ValueError, match="`optimizer` must not scale the loss"):
        SoftClipping(scaling, 1.0)
    with pytest.raises(ValueError, match="`trainable_variables` must be given"):
        SoftClipping("sgd", 1.0).apply([np.ones(2)])
    with pytest.raises(ValueError, match="`grads` must be 1 gradients, one a weight. Received: 2"):
        SoftClipping("sgd", 1.0).apply([np.ones(2)] * 2, variables_of([np.ones(2)]))


REPLICAS = """
import strategy_models as m
from kexue_keras import optimizers
found = []
for replicas in (1, 2):
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"][:replicas])
    for mode in ("soft", "hard"):
        with mirrored.scope():
            model = m.bag_of_words()
            optimizer = optimizers.SoftClipping(keras.optimizers.SGD(0.5), 0.3, mode)
            m.compiled(model, optimizer, jit_compile=False)
        m.fit(model, epochs=2)
        found.append([w.tolist() for w in model.get_weights()])
print(json.dumps(found))
"""


@pytest.mark.once
def test_two_replicas_are_one():
    """The norm is that of the whole batch, of which a replica has a part."""
    found = run_on_two_devices(REPLICAS)
    for weights, expected in zip(found[2:], found[:2], strict=True):
        for x, y in zip(weights, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
