"""AdaFactor: the formula, what it remembers, and what it is invariant to."""

import json

import keras
import numpy as np
import pytest
from contract import to_numpy
from optimizer_runs import assert_path, check_optimizer, steps, variables_of

from kexue_keras.optimizers import AdaFactor

RNG = np.random.default_rng(0)
SHAPES = [(5, 7), (7, 5), (9,), (3, 2), (2, 6, 3, 5), ()]
START = [RNG.normal(size=shape) for shape in SHAPES]
GRADIENTS = [[RNG.normal(0, 10.0 ** RNG.integers(-3, 3), s) for s in SHAPES] for _ in range(50)]
SMALL = {"min_dim_size_to_factor": 4}


def largest_axes(shape):
    """The places of the two largest sizes, for shapes without ties."""
    order = np.argsort(shape)
    return order[-1], order[-2]


def article(
    start,
    gradients,
    rate=1e-3,
    beta1=0.0,
    beta2=None,
    epsilon1=1e-30,
    epsilon2=1e-3,
    d=1.0,
    scaled=True,
    least=4,
):
    """The article's formulas with its sums, float64; `rate` is a function of the step or not."""
    theta = [np.array(x, "float64") for x in start]
    memory, path = [{} for _ in theta], []
    for t, found in enumerate(gradients, 1):
        beta2_t = 1 - t**-0.8 if beta2 is None else beta2
        alpha = rate(t) if callable(rate) else rate
        for k, g in enumerate(found):
            c = g**2 + epsilon1

            def average(name, value, k=k, beta2_t=beta2_t):
                old = memory[k].get(name, 0.0)
                memory[k][name] = beta2_t * old + (1 - beta2_t) * value
                return memory[k][name]

            shape = theta[k].shape
            if len(shape) >= 2 and sorted(shape)[-2] >= least:
                i, j = largest_axes(shape)
                rows = average("rows", c.sum(axis=j, keepdims=True))
                columns = average("columns", c.sum(axis=i, keepdims=True))
                v = rows * columns / rows.sum(axis=i, keepdims=True)
            else:
                v = average("v", c)
            u = g / np.sqrt(v)
            if d is not None:
                u = u / max(1.0, np.sqrt((u**2).mean()) / d)
            if beta1:
                memory[k]["m"] = beta1 * memory[k].get("m", 0.0) + (1 - beta1) * u
                u = memory[k]["m"]
            if scaled:
                u = u * max(epsilon2, np.sqrt((theta[k] ** 2).mean()))
            theta[k] = theta[k] - alpha * u
        path.append([x.copy() for x in theta])
    return path


def relative(t):
    return min(1e-2, t**-0.5)


CASES = {
    "defaults": ({}, {}),
    "momentum": ({"beta1": 0.9, "learning_rate": 0.01}, {"beta1": 0.9, "rate": 0.01}),
    "constant_beta2": ({"beta2": 0.99}, {"beta2": 0.99}),
    "relative_step": ({"learning_rate": None}, {"rate": relative}),
    "unscaled": ({"multiply_by_parameter_scale": False}, {"scaled": False}),
    "unclipped": ({"clipping_threshold": None}, {"d": None}),
    "clipped_hard": ({"clipping_threshold": 0.1}, {"d": 0.1}),
    "epsilons": ({"epsilon1": 1e-2, "epsilon2": 2.0}, {"epsilon1": 1e-2, "epsilon2": 2.0}),
}


@pytest.mark.parametrize("name", list(CASES))
def test_fifty_steps_are_those_of_numpy(name):
    ours, theirs = CASES[name]
    found = steps(AdaFactor(**SMALL, **ours), variables_of(START), GRADIENTS)
    assert_path(found, article(START, GRADIENTS, **theirs))


def test_contract(tmp_path):
    check_optimizer(lambda: AdaFactor(0.1, beta1=0.5, min_dim_size_to_factor=3), tmp_path)


def test_the_relative_step_survives_json():
    optimizer = AdaFactor(None)
    config = json.loads(json.dumps(optimizer.get_config()))
    assert config["learning_rate"] is None
    assert AdaFactor.from_config(config).get_config() == optimizer.get_config()
    assert float(to_numpy(optimizer.learning_rate)) == pytest.approx(0.01)
    optimizer.build(variables_of([np.ones(3)]))
    optimizer.variables[0].assign(39999)
    assert float(to_numpy(optimizer.learning_rate)) == pytest.approx(1 / 200)


def slots_of(shape, **options):
    optimizer = AdaFactor(**options)
    optimizer.build(variables_of([np.zeros(shape, "float32")]))
    return sorted(tuple(v.shape) for v in optimizer.variables if len(v.shape))


@pytest.mark.parametrize(
    "shape, slots",
    [
        ((128, 130), [(1, 130), (128, 1)]),
        ((130, 127), [(130, 127)]),
        ((200,), [(200,)]),
        ((3, 3, 150, 128), [(3, 3, 1, 128), (3, 3, 150, 1)]),
        ((140, 2, 129), [(1, 2, 129), (140, 2, 1)]),
    ],
)
def test_what_is_factored(shape, slots):
    """The two largest axes, if the shorter of them is long enough; n + m numbers then."""
    assert slots_of(shape) == slots


def test_momentum_costs_a_slot_and_axes_of_equal_length_are_the_last():
    assert slots_of((5, 4), beta1=0.9, **SMALL) == [(1, 4), (5, 1), (5, 4)]
    assert AdaFactor(**SMALL).factored_axes((6, 6, 6)) == (1, 2)
    assert AdaFactor(**SMALL).factored_axes((6, 2, 6, 3)) == (0, 2)


def test_the_first_moments_are_the_nearest_of_rank_one():
    """Sums of rows and columns are those of g^2, and no other product is nearer to it."""
    g = RNG.normal(size=(6, 5))
    optimizer = AdaFactor(**SMALL)
    steps(optimizer, variables_of([np.ones((6, 5))]), [[g]])
    rows, columns = (
        next(to_numpy(v.value) for v in optimizer.variables if tuple(v.shape) == shape)
        for shape in ((6, 1), (1, 5))
    )
    v, c = (rows * columns / rows.mean()).astype("float64"), g**2
    np.testing.assert_allclose(v.sum(0), c.sum(0), rtol=1e-5)
    np.testing.assert_allclose(v.sum(1), c.sum(1), rtol=1e-5)

    def divergence(p):
        return (c * np.log(c / p) - c + p).sum()

    least = divergence(v)
    for scale in (1e-2, 0.1, 1.0):
        for _ in range(200):
            a = rows * np.exp(scale * RNG.normal(size=rows.shape)) / rows.mean()
            b = columns * np.exp(scale * RNG.normal(size=columns.shape))
            assert divergence(a * b) > least - 1e-6


def test_gradients_of_rank_one_lose_nothing():
    start = [RNG.normal(size=(6, 5))]
    signs = np.sign(RNG.normal(size=(20, 6, 5)))
    a, b = RNG.uniform(0.5, 2, (6, 1)), RNG.uniform(0.5, 2, (1, 5))
    gradients = [[s * np.sqrt((t + 1) * a * b)] for t, s in enumerate(signs)]
    whole = {"min_dim_size_to_factor": 100}
    expected = steps(AdaFactor(0.01, **whole), variables_of(start), gradients)
    assert_path(steps(AdaFactor(0.01, **SMALL), variables_of(start), gradients), expected)


def test_the_first_step_forgets_nothing_and_knows_no_past():
    """beta2 is 0 in step 1, so that of unfactored weights only the sign counts."""
    (found,) = steps(AdaFactor(0.1), variables_of([np.full(4, 2.0)]), [[np.array([3, -1, 2, -9])]])
    np.testing.assert_allclose(found[0], 2.0 - 0.2 * np.array([1, -1, 1, -1]), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1e6])
def test_the_scale_of_the_gradient_does_not_matter(scale):
    gradients = GRADIENTS[:10]
    scaled = [[scale * g for g in found] for found in gradients]
    expected = steps(AdaFactor(0.01, **SMALL), variables_of(START), gradients)
    assert_path(steps(AdaFactor(0.01, **SMALL), variables_of(START), scaled), expected)


def test_zeros_among_the_gradients():
    """Rows and columns without gradient stay where they are; nothing becomes NaN."""
    gradient = np.zeros((5, 6))
    gradient[1, 2] = 3.0
    variables = variables_of([np.ones((5, 6)), np.ones((4, 5))])
    found = steps(AdaFactor(0.1, **SMALL), variables, [[gradient, np.zeros((4, 5))]] * 3)[-1]
    assert np.isfinite(found[0]).all()
    moved = found[0] != 1
    assert moved.sum() == 1 and moved[1, 2]
    np.testing.assert_array_equal(found[1], 1)


def test_patterns_exclude_from_the_scale():
    options = {"exclude_from_parameter_scale": ["w0$", "bias"], "clipping_threshold": None}
    start, gradients = [np.full(3, 5.0), np.full(3, 5.0)], [[np.ones(3), np.ones(3)]]
    (found,) = steps(AdaFactor(0.1, **options), variables_of(start), gradients)
    np.testing.assert_allclose(found[0], 4.9, rtol=1e-6)
    np.testing.assert_allclose(found[1], 4.5, rtol=1e-6)


@pytest.mark.parametrize("dtype, tolerance", [("float16", 2e-3), ("bfloat16", 2e-2)])
def test_half_precision_weights(dtype, tolerance):
    gradients = [[1e-4 * g for g in found] for found in GRADIENTS[:8]]
    optimizer = AdaFactor(0.05, **SMALL)
    found = steps(optimizer, variables_of(START, dtype), gradients)
    expected = article(START, gradients, rate=0.05)
    assert_path(found, expected, rtol=8 * tolerance, atol=8 * tolerance)
    dtypes = {keras.backend.standardize_dtype(v.dtype) for v in optimizer.variables}
    assert dtype not in dtypes


def test_what_keras_gives_every_optimizer():
    """Weight decay, clipping, accumulated gradients."""
    start, gradients = [np.full((5, 4), 2.0)], [[g] for g in RNG.normal(size=(4, 5, 4))]
    decayed = AdaFactor(0.1, weight_decay=0.5, multiply_by_parameter_scale=False, **SMALL)
    plain = AdaFactor(0.1, multiply_by_parameter_scale=False, **SMALL)
    (found,) = steps(decayed, variables_of(start), gradients[:1])
    (expected,) = steps(plain, variables_of(start), gradients[:1])
    np.testing.assert_allclose(found[0], expected[0] - 2.0 * 0.1 * 0.5, rtol=1e-5)
    accumulating = AdaFactor(0.1, gradient_accumulation_steps=2, **SMALL)
    found = steps(accumulating, variables_of(start), gradients)
    means = [[(a[0] + b[0]) / 2] for a, b in zip(gradients[::2], gradients[1::2], strict=True)]
    assert_path(found[1::2], article(start, means, rate=0.1))


# A block of BERT base, then what there is once.
BLOCK = [(768, 768)] * 4 + [(768,)] * 4 + [(768, 3072), (3072,), (3072, 768)] + [(768,)] * 5
ONCE = [(21128, 768), (512, 768), (2, 768), (768,), (768,), (768, 768), (768,)]


def numbers(shapes, optimizer):
    """How many numbers the slots of weights of these shapes have, by the rule alone."""
    total = 0
    for shape in shapes:
        axes, size = optimizer.factored_axes(shape), int(np.prod(shape))
        total += size if axes is None else sum(size // shape[axis] for axis in axes)
    return total


def test_memory_for_bert_base_is_below_two_per_cent_of_adam_s():
    """By the rule; that the slots of a block have this size is seen."""
    optimizer = AdaFactor()
    optimizer.build(variables_of([np.zeros(shape, "float32") for shape in BLOCK]))
    slots = sum(int(np.prod(v.shape)) for v in optimizer.variables if len(v.shape))
    assert slots == numbers(BLOCK, optimizer)
    shapes = 12 * BLOCK + ONCE
    weights = sum(int(np.prod(shape)) for shape in shapes)
    assert 101e6 < weights < 103e6  # of a Chinese BERT base
    assert numbers(shapes, optimizer) < 0.02 * 2 * weights


@pytest.mark.parametrize(
    "options, message",
    [
        ({"beta1": 1.0}, "`beta1` must be from 0 to below 1. Received: 1.0"),
        ({"beta2": -0.1}, "`beta2` must be from 0 to below 1. Received: -0.1"),
        ({"epsilon1": -1.0}, "`epsilon1` must be at least 0. Received: -1.0"),
        ({"epsilon2": float("nan")}, "`epsilon2` must be at least 0. Received: nan"),
        ({"clipping_threshold": 0.0}, "`clipping_threshold` must be above 0 or None. Received: 0"),
        ({"min_dim_size_to_factor": 0}, "`min_dim_size_to_factor` must be at least 1. Received: 0"),
        ({"exclude_from_parameter_scale": "bias"}, "must be a list of patterns. Received: 'bias'"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        AdaFactor(**options)
