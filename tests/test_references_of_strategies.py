"""The NumPy references of training strategies keep what their articles promise."""

import numpy as np
import pytest
from references import gradient_free, robustness
from scipy.special import logsumexp
from strategy_models import CHANGES, LABELS, LENGTH, SIZE, TOKENS, VOCABULARY, losses_of
from strategy_models import value_and_gradients as crossentropy

pytestmark = pytest.mark.once


def rng(seed=0):
    return np.random.default_rng(seed)


# without gradients (7737, 7521)


def test_the_policy_gradient_is_that_of_the_expected_reward_for_every_baseline():
    logits, rewards = rng(0).standard_normal((3, 4)), rng(1).standard_normal((3, 4))
    exact = gradient_free.exact_policy_gradient(logits, rewards)
    for b in (5.0, gradient_free.exact_baseline(logits, rewards, "optimal")):
        other = gradient_free.exact_policy_gradient(logits, rewards, b)
        np.testing.assert_allclose(exact, other, atol=1e-14)
    for place in np.ndindex(logits.shape):
        moved = logits.astype(complex)
        moved[place] += 1e-30j
        exps = np.exp(moved)
        value = np.mean(np.sum(exps * rewards, 1) / exps.sum(1))
        assert exact[place] == pytest.approx(value.imag / 1e-30, abs=1e-14)


def test_the_optimal_baseline_has_the_least_second_moment_and_samples_agree():
    logits, rewards = rng(0).standard_normal(4), rng(1).standard_normal(4) + 2
    p, scores = gradient_free.softmax(logits), gradient_free.scores(logits)

    def moment(b):
        return np.sum(p * (rewards - b) ** 2 * np.sum(scores**2, 1))

    best = gradient_free.exact_baseline(logits[None], rewards[None], "optimal")
    mean = gradient_free.exact_baseline(logits[None], rewards[None], "mean")
    assert mean == pytest.approx(p @ rewards)
    assert all(moment(best) < moment(best + h) for h in (-1e-3, 1e-3, -best, mean - best))
    samples = rng(2).choice(4, 40000, p=p)
    many = np.broadcast_to(logits, (40000, 4))
    exact = gradient_free.exact_policy_gradient(logits[None], rewards[None])[0]
    for kind, b in (("none", 0.0), ("mean", mean), ("optimal", best)):
        found = gradient_free.policy_gradient_estimate(many, samples, rewards[samples], kind)
        np.testing.assert_allclose(found.sum(0), exact, atol=0.02)
        sampled = gradient_free.sampled_baseline(many, samples, rewards[samples], kind)
        assert sampled == pytest.approx(b, abs=0.02)


def test_zeroth_order_of_a_quadratic():
    h, x = np.diag([1.0, 3.0, 0.5]), np.array([1.0, -1.0, 2.0])

    def f(x):
        return x @ h @ x / 2 + 3

    whole = np.sqrt(3) * np.eye(3)  # of covariance I
    np.testing.assert_allclose(gradient_free.zeroth_order(f, x, whole, 0.5), h @ x)
    one_sided = gradient_free.zeroth_order(f, x, [whole[0], -whole[0]], 1e-6, antithetic=False)
    np.testing.assert_allclose(one_sided, 3 * (h @ x)[0] * np.eye(3)[0], rtol=1e-5)
    random = rng().standard_normal((20000, 3))
    np.testing.assert_allclose(gradient_free.zeroth_order(f, x, random, 0.1), h @ x, atol=0.15)
    assert gradient_free.zeroth_order_baseline(f, x, random[:2000], 1e-3) == pytest.approx(
        f(x), abs=1e-2
    )


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_mgs_finds_the_step_of_newton_at_every_temperature(temperature):
    h, g = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([0.6, -0.4])
    generator, sigma, center = rng(), 1.8, -g
    deltas = sigma * generator.standard_normal((200000, 2))
    deltas[::2] += center
    losses = deltas @ g + np.einsum("ni,ij,nj->n", deltas, h, deltas) / 2
    found = gradient_free.mgs_update(deltas, 7 + losses, 7.0, center, sigma, 0.5, temperature)
    np.testing.assert_allclose(found, -np.linalg.solve(h, g), atol=0.03)


def test_weights_of_mgs():
    deltas = rng().standard_normal((4, 100000))
    losses, center = np.array([0.3, 0.1, 0.5, 0.2]), deltas[0]
    for temperature in (1e-8, 1.0, 1e8):
        run = (deltas, losses, 0.25, center, 1.0, 0.5, temperature)
        logs, weights = gradient_free.mgs_log_weights(*run), gradient_free.mgs_weights(*run)
        assert np.isfinite(logs).all() and weights.sum() == pytest.approx(1)
    deltas = deltas[:, :2]
    sharp = gradient_free.mgs_weights(deltas, losses, 0.25, center[:2], 1.0, 0.5, 1e-3)
    np.testing.assert_allclose(sharp, [0, 1, 0, 0], atol=1e-12)
    flat = gradient_free.mgs_weights(deltas, losses, 0.25, center[:2], 1.3, 0.25, 1e12)

    def normal(x):
        return np.exp(-np.sum(x**2, 1) / 2 / 1.69) / (2 * np.pi * 1.69)

    q = 0.25 * normal(deltas) + 0.75 * normal(deltas - center[:2])
    np.testing.assert_allclose(flat, (1 / q) / (1 / q).sum(), rtol=1e-9)
    np.testing.assert_allclose(
        gradient_free.log_proposal(deltas, center[:2], 1.3, 0.25), np.log(q), rtol=1e-12
    )
    for mixture in (0, 1):
        assert np.isfinite(gradient_free.log_proposal(deltas, center[:2], 1.0, mixture)).all()


# robust training (7466, 7818, 7259)


def bag(seed=0):
    shapes = ((VOCABULARY, SIZE), (SIZE, 3), (3,))
    return [rng(seed + i).standard_normal(shape) for i, shape in enumerate(shapes)]


def test_the_divergence_is_that_of_the_bag_of_words():
    weights, ones = bag(), np.ones(len(LABELS))
    found = robustness.divergence(weights, TOKENS, np.eye(3)[LABELS])
    wanted = crossentropy(weights, TOKENS, LABELS, ones)
    assert found[0] == pytest.approx(wanted[0])
    for a, b in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-14)
    target = np.exp(robustness.log_softmax(robustness.logits_of(weights, TOKENS)[0]))
    value, gradients = robustness.divergence(weights, TOKENS, target)
    assert abs(value) < 1e-15 and all(np.abs(g).max() < 1e-15 for g in gradients)
    assert robustness.divergence(bag(5), TOKENS, target)[0] > 0


def test_power_iteration_finds_the_worst_direction():
    weights = bag()
    target = np.exp(robustness.log_softmax(robustness.logits_of(weights, TOKENS)[0]))
    columns = []
    for i in range(VOCABULARY * SIZE):
        moved = weights[0].astype(complex)
        moved.flat[i] += 1e-30j
        columns.append(robustness.divergence([moved, *weights[1:]], TOKENS, target)[1][0].imag)
    hessian = np.reshape(columns, (len(columns), -1)) / 1e-30
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    top = np.linalg.eigh(hessian)[1][:, -1]
    start = rng().standard_normal(weights[0].shape)
    found = robustness.virtual_perturbation(weights, TOKENS, start, 0.1, 1e-6, 100)
    assert np.linalg.norm(found) == pytest.approx(0.1)
    assert abs(found.ravel() @ top) / 0.1 > 1 - 1e-6
    none = robustness.virtual_perturbation(weights, TOKENS, start, 0.1, iterations=0)
    np.testing.assert_allclose(none, 0.1 * start / np.linalg.norm(start))

    def loss(shift):
        return robustness.divergence([weights[0] + shift, *weights[1:]], TOKENS, target)[0]

    assert loss(found) > loss(none) > 0
    once = robustness.virtual_perturbation(weights, TOKENS, start, 0.1, 1e-3, 1)
    assert loss(found) >= loss(once) > loss(none)


def test_virtual_adversaries_need_no_labels_and_add_a_loss():
    weights, start = bag(), rng().standard_normal((VOCABULARY, SIZE))
    nothing = [np.zeros_like(w) for w in weights]
    change = robustness.virtually_adversarial(
        lambda weights: (0.0, nothing), TOKENS, start, 0.5, weight=3.0
    )
    value, gradients = change(weights)
    assert value > 0
    shift = robustness.virtual_perturbation(weights, TOKENS, start, 0.5)
    target = np.exp(robustness.log_softmax(robustness.logits_of(weights, TOKENS)[0]))
    moved = [weights[0] + shift, *weights[1:]]
    for k, gradient in enumerate(gradients):
        for place in list(np.ndindex(gradient.shape))[:6]:
            there = [w.astype(complex) for w in moved]
            there[k][place] += 1e-30j
            slope = robustness.divergence(there, TOKENS, target)[0].imag / 1e-30
            assert gradient[place] == pytest.approx(3 * slope, abs=1e-12)
    zero = robustness.virtually_adversarial(
        lambda w: crossentropy(w, TOKENS, LABELS, np.ones(8)), TOKENS, start, weight=0.0
    )
    assert zero(weights)[0] == crossentropy(weights, TOKENS, LABELS, np.ones(8))[0]


def test_one_projected_step_is_fgm_and_more_stay_in_the_ball():
    weights = bag()
    for plain, one in zip(
        losses_of(weights, CHANGES["adversarial"])[1],
        losses_of(weights, lambda f: robustness.projected(f, 0.5))[1],
        strict=True,
    ):
        np.testing.assert_allclose(plain, one, atol=1e-14)

    def function(w):
        return crossentropy(w, TOKENS, LABELS, np.ones(8))

    losses = []
    for steps, size in ((1, None), (4, None), (4, 0.5)):
        shift = robustness.projected_perturbation(function, weights, 0.5, steps, size)
        assert np.linalg.norm(shift) <= 0.5 + 1e-12
        losses.append(function([weights[0] + shift, *weights[1:]])[0])
    assert losses[0] > function(weights)[0] and losses[1] > losses[0] and losses[2] > losses[0]


def test_teaforn_looks_ahead():
    generator, width = rng(), 4
    matrix, places = generator.standard_normal((2, width, width)), np.arange(1, LENGTH + 1)
    head = generator.standard_normal((width, 6))
    x = generator.standard_normal((2, LENGTH, width))
    targets = generator.integers(0, 6, (2, LENGTH))

    def model(x):
        return np.tanh(np.cumsum(x, -2) / places[:, None] @ matrix[0] + x @ matrix[1])

    hidden = robustness.teaforn_hidden(model, x, 3)
    for moved in range(1, LENGTH):
        other = x.copy()
        other[:, moved] += 1
        change = np.abs(robustness.teaforn_hidden(model, other, 3) - hidden).max((1, 3)) > 1e-9
        for i in (1, 2, 3):
            # h_t^(i) is at place t - 1 and depends on w_0, ..., w_{t-i}
            assert change[i - 1].tolist() == [t - i >= moved for t in range(1, LENGTH + 1)]
    run = (model, lambda h: h @ head, x, targets)
    logits = model(x) @ head
    forced = logsumexp(logits, -1) - np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    assert robustness.teaforn_loss(*run, steps=1) == pytest.approx(forced.mean())
    first, second = robustness.teaforn_losses(*run, steps=2)
    assert robustness.teaforn_loss(*run, discount=0.3) == pytest.approx(first + 0.3 * second)
    mask = np.arange(LENGTH) < [[2], [4]]
    masked = robustness.teaforn_losses(*run, steps=1, mask=mask)[0]
    assert masked == pytest.approx(forced[mask].mean())


def test_replacement_is_counted():
    generator = rng()
    tokens, segments = generator.integers(5, 12, (400, 14)), np.tile(np.arange(14) >= 6, (400, 1))
    after = tokens.copy()
    for row in np.flatnonzero(generator.random(400) < 0.5):
        for place in 6 + np.flatnonzero(generator.random(8) < 0.3):
            after[row, place] = generator.choice(tokens[row, 6:])
    mean, deviation = robustness.replacement_expectation(tokens, segments)
    share = np.mean((after != tokens)[segments])
    assert abs(share - mean) < 4 * deviation and 0.1 < mean < 0.15 and deviation < 0.01
    assert robustness.replacement_faults(tokens, after, segments) == (0, 0)
    after[0, 0], after[3, 7] = 99, 99
    assert robustness.replacement_faults(tokens, after, segments) == (1, 1)
    distinct = np.arange(14)[None]
    mean, deviation = robustness.replacement_expectation(distinct, segments[:1])
    chance, rows = 0.3 * 7 / 8, generator.random(20000) < 0.5
    assert mean == pytest.approx(chance / 2)
    shares = rows * generator.binomial(8, chance, 20000) / 8
    assert shares.std() == pytest.approx(deviation, rel=0.02)


def test_a_wider_beam_finds_the_better_path():
    first = {"a": 0.6, "c": 0.4}
    second = {"a": {"b": 0.55, "d": 0.45}, "c": {"b": 0.1, "d": 0.9}}
    assert robustness.two_step_beam(first, second, 1) == (("a", "b"), pytest.approx(0.33))
    assert robustness.two_step_beam(first, second, 2) == (("c", "d"), pytest.approx(0.36))
