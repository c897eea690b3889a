"""Inner products over shared weights, and sums, against NumPy."""

import numpy as np
from contract import compile, to_numpy
from keras import ops

from kexue_keras.training.task_gradients import products_of, weighted_sum

RNG = np.random.default_rng(0)
SHARED = [RNG.normal(size=(2, 3)).astype("float32") for _ in range(3)]
OTHER = [RNG.normal(size=4).astype("float32") * (k < 2) for k in range(3)]
HEADS = np.diag([1.5, -2.0, 4.0]).astype("float32")


def gradients(scale=1.0):
    """Three tasks; two weights of all or two of them, and a head each."""
    tasks = [[SHARED[k] * scale, OTHER[k] * scale, *(HEADS[k][:, None] * scale)] for k in range(3)]
    return [[ops.convert_to_tensor(np.asarray(g, "float32")) for g in task] for task in tasks]


def products(gradients):
    def run(gradients):
        found = products_of(gradients)
        return (found.gram, found.squares, found.scale, found.finite, found.norms, found.shared)

    return [
        [to_numpy(x) for x in part] if isinstance(part, list) else to_numpy(part)
        for part in compile(run, [])(gradients)
    ]


def test_products_for_every_scale():
    rows = np.stack([np.concatenate([SHARED[k].ravel(), OTHER[k]]) for k in range(3)])
    expected = rows.astype("float64") @ rows.T
    for scale in (1.0, 1e-30, 1e30):
        gram, squares, unit, finite, norms, shared = products(gradients(scale))
        assert finite and [bool(x) for x in shared] == [True, True, False, False, False]
        unit = unit.astype("float64") / scale
        np.testing.assert_allclose(gram * unit**2, expected, rtol=1e-5)
        whole = expected.diagonal() + HEADS.diagonal() ** 2
        np.testing.assert_allclose(squares * unit**2, whole, rtol=1e-5)
        np.testing.assert_allclose(norms / scale, np.sqrt(expected.diagonal()), rtol=1e-5)


def test_a_task_that_shares_nothing_has_the_norm_of_all_its_weights():
    found = products([[ops.array([3.0]), ops.array([0.0])], [ops.array([0.0]), ops.array([4.0])]])
    np.testing.assert_allclose(found[4], [3, 4])
    np.testing.assert_allclose(found[0], 0)


def test_what_is_not_finite_is_told_and_zeros_are_no_error():
    for bad in (np.nan, np.inf, -np.inf):
        for place in (0, 3):
            tasks = gradients()
            tasks[1][place] = tasks[1][place] * bad
            assert not products(tasks)[3]
    gram, _, scale, finite, norms, _ = products([[ops.zeros(2)], [ops.zeros(2)]])
    assert finite and scale == 1 and not gram.any() and not norms.any()


def test_weighted_sums():
    weights, own = np.array([0.5, 2.0, -1.0], "float32"), np.array([1.0, 3.0, 5.0], "float32")
    shared = [ops.convert_to_tensor(x) for x in (True, True, False, False, False)]
    found = weighted_sum(
        gradients(), shared, ops.convert_to_tensor(weights), ops.convert_to_tensor(own)
    )
    expected = [sum(w * g for w, g in zip(weights, part, strict=True)) for part in (SHARED, OTHER)]
    expected += [own[k : k + 1] * HEADS[k, k] for k in range(3)]
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(to_numpy(x), y, rtol=1e-6)
    half = weighted_sum([[ops.ones(1, "float16")]], [True], ops.ones(1), ops.ones(1))
    assert "float16" in str(half[0].dtype)
