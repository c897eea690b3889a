"""The NumPy references of optimizers and of many tasks keep what their articles promise."""

import itertools

import numpy as np
import pytest
from references import multitask, optimizers
from scipy.optimize import minimize
from scipy.special import logsumexp

pytestmark = pytest.mark.once


def rng(seed=0):
    return np.random.default_rng(seed)


# AdaFactor (7302)


def test_rank_one_minimises_the_i_divergence_and_keeps_the_sums():
    c = rng().random((4, 6)) + 0.1
    rows, columns = c.sum(1, keepdims=True), c.sum(0, keepdims=True)
    v = optimizers.rank_one(rows, columns, (0, 1))
    np.testing.assert_allclose(v.sum(1), c.sum(1))
    np.testing.assert_allclose(v.sum(0), c.sum(0))

    def divergence(a, b):
        return np.sum(c * np.log(c / (a * b)) - c + a * b)

    least, generator = divergence(rows, columns / c.sum()), rng(1)
    for _ in range(500):
        size = 10 ** generator.uniform(-3, 0)
        a = rows * np.exp(size * generator.standard_normal(rows.shape))
        b = columns / c.sum() * np.exp(size * generator.standard_normal(columns.shape))
        assert divergence(a, b) >= least


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7), (7, 2, 5, 3)])
def test_adafactor_of_squares_of_rank_one_is_not_changed_by_factoring(shape):
    """The pattern of the squares stays, the size and the signs change."""
    axes = optimizers.factored_axes(shape, 5)
    assert [shape[a] for a in axes] == [s for s in shape if s >= 5]
    pattern = np.ones(shape)
    for axis in axes:
        size = [n if i == axis else 1 for i, n in enumerate(shape)]
        pattern = pattern * (rng(axis).random(size) + 0.2)
    steps = [s * pattern * rng(s).choice([-1, 1], shape) for s in range(1, 8)]
    start = rng(3).standard_normal(shape)
    factored = optimizers.adafactor(start, steps, 0.1, min_dim_size_to_factor=5)
    full = optimizers.adafactor(start, steps, 0.1, min_dim_size_to_factor=8)
    np.testing.assert_allclose(factored, full, rtol=1e-12)
    other = [s * rng(9).random(shape) for s in steps]
    factored = optimizers.adafactor(start, other, 0.1, min_dim_size_to_factor=5)
    full = optimizers.adafactor(start, other, 0.1, min_dim_size_to_factor=8)
    assert np.abs(factored[0] - full[0]).max() > 1e-3


def test_the_first_step_of_adafactor():
    start, g = rng(0).standard_normal((4, 5)), rng(1).standard_normal((4, 5))
    options = {"clipping_threshold": None, "min_dim_size_to_factor": 1}
    squares = g**2
    v = squares.sum(1, keepdims=True) * squares.sum(0) / squares.sum()
    (end,) = optimizers.adafactor(start, [g], 0.1, **options)
    scale = np.sqrt(np.mean(start**2))
    np.testing.assert_allclose(start - end, 0.1 * scale * g / np.sqrt(v))
    (end,) = optimizers.adafactor(start, [g], None, multiply_by_parameter_scale=False, **options)
    np.testing.assert_allclose(start - end, 0.05 * 0.01 * g / np.sqrt(v))
    (end,) = optimizers.adafactor(0 * start, [g], 0.1, **options)
    np.testing.assert_allclose(end, -0.1 * 1e-3 * g / np.sqrt(v))


def test_adafactor_does_not_feel_the_size_of_gradients_and_clips_its_update():
    start = rng(0).standard_normal(6)
    steps = list(rng(1).standard_normal((9, 6)))
    one = optimizers.adafactor(start, steps, 0.1, beta1=0.9)
    other = optimizers.adafactor(start, [1e4 * g for g in steps], 0.1, beta1=0.9)
    np.testing.assert_allclose(one, other, rtol=1e-12)
    steps[5] = 1e3 * steps[5]
    path = np.array(
        optimizers.adafactor(start, steps, 0.1, multiply_by_parameter_scale=False, beta2=0.9)
    )
    size = np.sqrt(np.mean(np.diff(path, axis=0) ** 2, 1))
    assert size.max() <= 0.1 + 1e-12 and size[4] == pytest.approx(0.1)


def test_averages_of_adafactor():
    """Of vectors, of whose squares the first average is the first itself."""
    start, steps = rng(0).standard_normal(6), rng(1).standard_normal((3, 6))
    options = {"multiply_by_parameter_scale": False, "clipping_threshold": None}
    v, m, theta = 0.0, 0.0, start
    path = optimizers.adafactor(start, steps, lambda t: 0.1 / t, beta1=0.9, **options)
    for t, (g, found) in enumerate(zip(steps, path, strict=True), start=1):
        share = (1.0, 2**-0.8, 3**-0.8)[t - 1]
        v = v + share * (g**2 - v)
        m = m + 0.1 * (g / np.sqrt(v) - m)
        theta = theta - 0.1 / t * m
        np.testing.assert_allclose(found, theta)
    path = optimizers.adafactor(start, steps, 0.1, beta2=0.75, **options)
    np.testing.assert_allclose(path[0], start - 0.1 * np.sign(steps[0]) / 0.5)


def test_only_large_axes_are_factored():
    assert optimizers.factored_axes((500,)) is None
    assert optimizers.factored_axes((500, 127)) is None
    assert optimizers.factored_axes((128, 500)) == (0, 1)
    assert optimizers.factored_axes((300, 3, 3, 200)) == (0, 3)


# clipping (7469)


def test_the_two_forms_of_clipping():
    direction = rng().standard_normal(5)
    for exponent in np.linspace(-6, 6, 25):
        gradients = [10**exponent * direction[:2], 10**exponent * direction[2:]]
        norm = np.linalg.norm(np.concatenate(gradients))
        soft, hard = (
            np.concatenate(optimizers.soft_clip(gradients, 0.7, m)) for m in ("soft", "hard")
        )
        for clipped in (soft, hard):
            cosine = clipped @ direction / np.linalg.norm(clipped) / np.linalg.norm(direction)
            assert cosine == pytest.approx(1)
        ratio = np.linalg.norm(soft) / np.linalg.norm(hard)
        assert 0.5 - 1e-12 <= ratio <= 1
        assert np.linalg.norm(soft) < 0.7 and np.linalg.norm(hard) <= 0.7 + 1e-12
        assert np.linalg.norm(hard) == pytest.approx(min(norm, 0.7))
        assert np.linalg.norm(soft) == pytest.approx(1 / (1 / norm + 1 / 0.7))
    for mode in ("soft", "hard"):
        assert not optimizers.soft_clip([np.zeros(3)], 0.7, mode)[0].any()


def test_soft_clipping_descends_where_plain_descent_diverges():
    theta = np.array([10.0])
    for _ in range(1500):
        theta = theta - 0.1 * optimizers.soft_clip([4 * theta**3], 1.0)[0]
    assert abs(theta[0]) < 0.05
    assert abs(10.0 - 0.1 * 4 * 10.0**3) > 10


# exponentiated gradient and step sizes (8968)


def test_exponentiated_gradient():
    start, steps = rng().random((3, 4)) + 0.1, list(rng(1).standard_normal((5, 3, 4)))
    path = optimizers.exponentiated_gradient(start, steps, 0.3)
    np.testing.assert_allclose(path[-1], start * np.exp(-0.3 * np.sum(steps, 0)))
    start = start / start.sum(1, keepdims=True)
    path = optimizers.exponentiated_gradient(start, steps, 0.3, simplex_axis=1)
    logs = np.log(start) - 0.3 * np.sum(steps, 0)
    np.testing.assert_allclose(path[-1], np.exp(logs - logsumexp(logs, 1, keepdims=True)))
    steps = [1e4 * steps[0]]
    assert optimizers.exponentiated_gradient(start, steps, 1.0, 1)[0].sum() == pytest.approx(3)


def test_adaptive_step_size():
    start, steps = rng().standard_normal(4), list(rng(1).standard_normal((6, 4)))
    path, nus = optimizers.adaptive_step_size(start, steps, 0.1, 0.5, gains=True)
    total = sum(a * b for a, b in itertools.pairwise(steps))
    np.testing.assert_allclose(nus[-1], np.exp(0.5 * total))
    np.testing.assert_allclose(path[-2] - path[-1], 0.1 * nus[-1] * steps[-1])
    assert (np.array(nus) > 0).all() and (nus[0] == 1).all()
    plain = optimizers.adaptive_step_size(start, steps, 0.1, 0.0)
    np.testing.assert_allclose(plain[-1], start - 0.1 * np.sum(steps, 0))


def test_the_exponent_is_the_derivative_by_the_gain():
    curvature, theta, nu = np.array([1.0, 3.0]), np.array([1.0, -2.0]), np.array([0.7, 1.2])
    last = curvature * theta

    def loss(nu):
        return np.sum(curvature * (theta - 0.1 * nu * last) ** 2) / 2

    now = curvature * (theta - 0.1 * nu * last)
    for i, step in enumerate(1e-5 * np.eye(2)):
        slope = (loss(nu + step) - loss(nu - step)) / 2e-5
        assert slope == pytest.approx(-0.1 * last[i] * now[i], rel=1e-6)


def test_the_raw_exponent_overflows_and_the_normalised_one_does_not():
    curvature = np.array([1.0, 100.0])
    run = [np.ones(2), (lambda theta: curvature * theta, 60), 0.005]
    with np.errstate(all="ignore"):
        assert not np.isfinite(optimizers.adaptive_step_size(*run, 1e-3)[-1]).all()
    _, nus = optimizers.adaptive_step_size(*run, 0.01, normalized=True, gains=True)
    assert np.isfinite(nus).all() and np.abs(np.log(nus)).max() <= 0.01 * 60
    path = optimizers.adaptive_step_size(np.ones(2), [np.zeros(2)] * 2, 1.0, 1.0, normalized=True)
    assert (path[-1] == 1).all()


# many tasks (8870, 8896, 8907)


def cases(count=60, seed=0):
    """Gradients of tasks, a row each, every fourth of them degenerate."""
    generator = rng(seed)
    for i in range(count):
        n, d = generator.integers(2, 6), generator.integers(2, 10)
        g = generator.standard_normal((n, d)) * 10 ** generator.uniform(-2, 2, (n, 1))
        if i % 4 == 1:
            g[-1] = (0, 1, -1, -0.5, 3)[i // 4 % 5] * g[0]
        yield g


def test_weightings():
    losses = np.array([0.3, 2.0, 5.0])
    assert multitask.initial_loss([0, 2, 1], 3) == pytest.approx(np.log(3))
    assert multitask.prior_loss([0, 2, 0, 2], 3) == pytest.approx(np.log(2))
    y = rng().standard_normal((9, 2)) + 1
    assert multitask.prior_loss(y) == pytest.approx(y.var(0).sum())
    assert multitask.initial_loss(y) == pytest.approx((y**2).mean(0).sum())
    assert multitask.inverse_weights(losses) @ losses == pytest.approx(3)
    gammas = [-np.inf, -30, -1, 0, 1e-7, 1, 2, 30, np.inf]
    means = [multitask.generalized_mean(losses, gamma) for gamma in gammas]
    assert means == sorted(means) and means[0] == pytest.approx(0.3)
    assert means[-1] == pytest.approx(5.0) and means[5] == pytest.approx(losses.mean())
    assert means[3] == pytest.approx(means[4], rel=1e-6)
    for gamma in (-30, -1, 0, 0.5, 1, 2, 30):
        slopes = [
            (multitask.generalized_mean(losses + h, gamma) - means_below) / 2e-6
            for h in 1e-6 * np.eye(3)
            for means_below in [multitask.generalized_mean(losses - h, gamma)]
        ]
        found = multitask.generalized_mean_weights(losses, gamma)
        np.testing.assert_allclose(found, slopes, rtol=1e-5, atol=1e-9)


def test_only_weights_of_gradient_norms_ignore_scales_and_shifts():
    g, losses = rng().standard_normal((3, 5)), np.array([0.3, 2.0, 5.0])
    a, b = np.array([3.0, 0.1, 7.0]), np.array([1.0, 2.0, 3.0])

    def same(function):
        pair = [function(losses, g), function(a * losses + b, a[:, None] * g)]
        return np.allclose(*[u / np.linalg.norm(u) for u in pair])

    combine = multitask.combine
    assert same(lambda loss, g: combine(g, multitask.gradient_norm_weights(g)))
    assert not same(lambda loss, g: combine(g, multitask.equal_weights(loss)))
    assert not same(lambda loss, g: combine(g, multitask.inverse_weights(loss)))
    assert not same(lambda loss, g: combine(g, multitask.generalized_mean_weights(loss, 0.5)))
    b[:] = 0
    assert same(lambda loss, g: combine(g, multitask.inverse_weights(loss)))
    assert multitask.gradient_norm_weights([[0.0, 0.0], [3.0, 4.0]]).tolist() == [0, 0.2]


def test_min_norm_weights_are_optimal():
    for g in cases():
        gram = g @ g.T
        alpha = multitask.min_norm_weights_active_set(gram)
        assert multitask.kkt_violation_min_norm(gram, alpha) < 1e-9
        walk = multitask.min_norm_weights_frank_wolfe(gram, 50)
        assert (
            multitask.squared_norm(gram, alpha)
            <= multitask.squared_norm(gram, walk) * (1 + 1e-9) + 1e-14 * np.diag(gram).max()
        )
        if len(g) == 2:
            first = multitask.two_task_weight(*g)
            u = multitask.combine(g, [first, 1 - first])
            np.testing.assert_allclose(u, alpha @ g, atol=1e-9 * np.abs(g).max())


def test_min_norm_of_degenerate_tasks_and_its_violation():
    g = rng().standard_normal((1, 4))
    for rows, u in (([g, -g], 0 * g), ([g, g, g], g), ([g, 0 * g], 0 * g), ([0 * g] * 2, 0 * g)):
        gradients = np.concatenate(rows)
        gram = gradients @ gradients.T
        alpha = multitask.min_norm_weights_active_set(gram)
        np.testing.assert_allclose(alpha @ gradients, u[0], atol=1e-9)
        assert multitask.kkt_violation_min_norm(gram, alpha) < 1e-9
    gram = np.diag([1.0, 4.0])
    assert multitask.kkt_violation_min_norm(gram, np.array([0.8, 0.2])) < 1e-12
    for wrong in ([0.79, 0.21], [0.8, 0.21], [1.01, -0.01], [0.0, 1.0]):
        assert multitask.kkt_violation_min_norm(gram, np.array(wrong)) > 5e-3


def test_frank_wolfe_comes_within_a_thousandth():
    g = rng(4).standard_normal((4, 10))
    gram = g @ g.T
    best = multitask.squared_norm(gram, multitask.min_norm_weights_active_set(gram))
    for line_search in (True, False):
        alpha = multitask.min_norm_weights_frank_wolfe(gram, 3000, line_search)
        assert best * (1 - 1e-9) <= multitask.squared_norm(gram, alpha) < best * (1 + 1e-3)


def test_auxiliary_weights_are_optimal_and_those_of_nnls():
    for i, g in enumerate(cases(seed=1)):
        main = i % len(g)
        gram = g @ g.T
        exact = multitask.auxiliary_weights_active_set(gram, main)
        nnls = multitask.auxiliary_weights_nnls(g, main)
        u, v = (g[main] + w @ np.delete(g, main, 0) for w in (exact, nnls))
        length = np.linalg.norm(g[main])
        np.testing.assert_allclose(u, v, atol=1e-9 * length)
        assert multitask.kkt_violation_auxiliary(gram, main, exact) < 1e-9
        assert multitask.kkt_violation_auxiliary(gram, main, nnls) < 1e-9
        assert np.linalg.norm(u) <= length * (1 + 1e-12)
        np.testing.assert_allclose(u @ g[main], u @ u, atol=1e-9 * length**2)
        factors = multitask.gradients_of(gram)
        np.testing.assert_allclose(factors @ factors.T, gram, atol=1e-12 * gram.max())


def test_auxiliary_weight_of_two_tasks_and_its_violation():
    g = np.array([[1.0, 0.0], [-3.0, 4.0], [2.0, 1.0]])
    gram = g[:2] @ g[:2].T
    np.testing.assert_allclose(multitask.auxiliary_weights_nnls(g[:2]), [3 / 25])
    assert not multitask.auxiliary_weights_nnls(g[[0, 2]]).any()
    assert multitask.kkt_violation_auxiliary(gram, 0, [1.0, 3 / 25]) < 1e-12
    for wrong in (3 / 25 + 0.01, 3 / 25 - 0.01, -0.1, 0.0):
        assert multitask.kkt_violation_auxiliary(gram, 0, [wrong]) > 5e-3
    gram = g[[0, 2]] @ g[[0, 2]].T
    assert multitask.kkt_violation_auxiliary(gram, 0, [0.1]) > 5e-3


def test_mixed_weights_are_those_of_a_general_solver():
    for g in itertools.islice(cases(seed=2), 24):
        g = g / np.linalg.norm(g, axis=1, keepdims=True).clip(1e-9)
        gram, group = g @ g.T, [0, len(g) - 1]
        weights = multitask.mixed(gram, group)
        assert weights.min() >= 0 and weights[group].sum() == pytest.approx(1)
        found = minimize(
            lambda w, gram=gram: w @ gram @ w,
            np.full(len(g), 0.5),
            jac=lambda w, gram=gram: 2 * gram @ w,
            method="SLSQP",
            bounds=[(0, None)] * len(g),
            constraints={"type": "eq", "fun": lambda w, group=group: w[group].sum() - 1},
            options={"ftol": 1e-14},
        )
        assert multitask.squared_norm(gram, weights) == pytest.approx(found.fun, abs=1e-6)
