"""Every training strategy, and every pair of them, through the same list of checks."""

import json

import combinations as table
import keras
import numpy as np
import pytest
from contract import to_numpy
from two_devices import run_on_two_devices

from kexue_keras import training

# printed by tests/combinations.py
LOSSES = {
    "adversarial": [1.3734989, 1.2510154, 1.1813209],
    "penalty": [1.3392543, 1.2304189, 1.1593661],
    "vat": [1.3384464, 1.232424, 1.1584036],
    "multi": [2.343605, 2.0047846, 1.8475556],
    "policy": [-0.1776148, -0.2140402, -0.2421481],
    "search": [1.3204212, 1.1845472, 1.0996443],
    "tea": [3.1879363, 2.5143127, 2.4259],
    "zeroth": [1.335634, 1.3125335, 1.3108208],
    "adversarial_adversarial": [1.4073993, 1.258774, 1.196292],
    "adversarial_penalty": [1.3786436, 1.2495836, 1.1815236],
    "adversarial_vat": [1.378027, 1.2527747, 1.1825795],
    "adversarial_multi": [2.5320301, 1.9969025, 1.8229351],
    "adversarial_policy": [-0.1681565, -0.2062328, -0.218379],
    "adversarial_search": [1.355783, 1.2016068, 1.1394632],
    "adversarial_tea": [3.4386806, 2.6081545, 2.5553188],
    "adversarial_zeroth": [1.3536642, 1.3259526, 1.3238997],
    "penalty_adversarial": [1.3786436, 1.2495836, 1.1815236],
    "penalty_penalty": [1.3460522, 1.2323593, 1.163355],
    "penalty_vat": [1.3470905, 1.2343626, 1.1628387],
    "penalty_multi": [3.3078246, 2.7200077, 1.8091227],
    "penalty_policy": [-0.1771816, -0.2173498, -0.2432559],
    "penalty_search": [1.3266366, 1.188742, 1.1120902],
    "penalty_tea": [3.3789101, 2.5371785, 2.4568603],
    "penalty_zeroth": [1.3449874, 1.3208206, 1.3187643],
    "vat_adversarial": [1.378027, 1.2527747, 1.1825795],
    "vat_penalty": [1.3457906, 1.2345911, 1.1631775],
    "vat_vat": [1.3451341, 1.2363108, 1.1630204],
    "vat_multi": [2.6891706, 1.9444804, 1.7858686],
    "vat_policy": [-0.1724398, -0.2179835, -0.2458503],
    "vat_search": [1.3292459, 1.1949495, 1.1201732],
    "vat_tea": [3.2822013, 2.6443326, 2.4859171],
    "vat_zeroth": [1.3447989, 1.3235862, 1.3220844],
}
each_case = pytest.mark.parametrize("case", table.CASES, ids=table.name_of)


@pytest.fixture(autouse=True)
def _the_same_draws():
    with table.the_same_draws():
        yield


@each_case
def test_losses_fall_and_are_the_same_on_every_backend(case):
    """With sample weights; a metric counts every batch once."""
    # JAX has every operation compiled anyway; on TensorFlow tracing would be most of the time
    eager = keras.backend.backend() == "tensorflow" and len(case) == 2
    ways = {"run_eagerly": True, "jit_compile": False} if eager else {}
    history = table.train(case, table.compiled(case, table.make(case), **ways))
    np.testing.assert_allclose(history["loss"], LOSSES[table.name_of(case)], rtol=1e-5, atol=1e-5)
    assert history["loss"][-1] < history["loss"][0]
    updates = next(values for name, values in history.items() if name.endswith("updates"))
    assert updates == [len(table.TOKENS) / table.BATCH] * table.EPOCHS


@pytest.mark.parametrize("case", [c for c in table.CASES if len(c) == 2], ids=table.name_of)
def test_a_reloaded_pair_is_the_same(case, tmp_path):
    strategy = table.make(case)
    text = json.dumps(keras.saving.serialize_keras_object(strategy))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    kinds = []
    for one in (strategy, again):
        chain = []
        while isinstance(one, training.Strategy):
            chain.append(type(one).__name__)
            one = one.model
        kinds.append(chain)
    assert kinds[0] == kinds[1] and len(kinds[0]) == 2
    assert json.dumps(again.get_config()) == json.dumps(strategy.get_config())


@pytest.mark.parametrize("case", [c for c in table.CASES if len(c) == 1], ids=table.name_of)
def test_a_reloaded_strategy_goes_on_as_the_undisturbed_one(case, tmp_path):
    """From the file of `save`, the slots of Adam and the state of random generators included."""
    whole = table.compiled(case, table.make(case), keras.optimizers.Adam(0.05))
    table.train(case, whole, epochs=1)
    whole.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    assert type(again) is type(whole)
    losses = [table.train(case, strategy, epochs=1)["loss"] for strategy in (again, whole)]
    np.testing.assert_allclose(*losses, rtol=1e-5, atol=1e-6)
    pairs = (
        (again.variables, whole.variables),
        (again.optimizer.variables, whole.optimizer.variables),
    )
    for found, expected in pairs:
        for x, y in zip(found, expected, strict=True):
            if x.name != "seed_generator_state":
                np.testing.assert_allclose(to_numpy(x.value), to_numpy(y.value), 1e-4, 1e-6)


WITHOUT_STRENGTH = {
    "adversarial": lambda m: training.AdversarialTraining(m, table.NAME, 0.0),
    "penalty": lambda m: training.GradientPenalty(m, table.NAME, 0.0),
    "vat": lambda m: training.VirtualAdversarialTraining(m, table.NAME, weight=0.0),
    "vat_epsilon": lambda m: training.VirtualAdversarialTraining(m, table.NAME, epsilon=0.0),
    "tea": lambda m: training.TeaForN(m, steps=2, discount=0.0),
    "multi": lambda m: training.MultiTask(m, "equal", "sum"),
}


@pytest.mark.parametrize("name", WITHOUT_STRENGTH)
def test_without_strength_20_steps_are_those_of_the_plain_run(name):
    """To the last bit; but for rounding where the gradients of tasks are added up one by one."""
    case, found = (name.split("_")[0],), []
    for make in (training.Strategy, WITHOUT_STRENGTH[name]):
        model = table.BASES.get(case[0], table.classifier)()
        strategy = table.compiled(case, make(model), keras.optimizers.Adam(0.01))
        history = table.train(case, strategy, epochs=10)
        found.append((history["loss"], [to_numpy(w.value) for w in model.weights]))
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if name == "multi" else {"rtol": 0, "atol": 0}
    np.testing.assert_allclose(found[1][0], found[0][0], **tolerance)
    for x, y in zip(found[1][1], found[0][1], strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


@pytest.mark.once
@pytest.mark.eager
@each_case
def test_half_precision(case):
    """Weights stay float32 and finite, and move; the loss scale is that of the optimizer."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        strategy = table.compiled(case, table.make(case))
        start = [to_numpy(w.value).copy() for w in strategy.trainable_variables]
        history = table.train(case, strategy, epochs=1)
    finally:
        keras.config.set_dtype_policy(before)
    assert isinstance(strategy.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(history["loss"]).all()
    expected = LOSSES[table.name_of(case)][0]
    assert history["loss"][0] == pytest.approx(expected, rel=0.05, abs=0.05)
    moved = [to_numpy(w.value) for w in strategy.trainable_variables]
    assert all(w.dtype == np.float32 and np.isfinite(w).all() for w in moved)
    assert any((a != b).any() for a, b in zip(start, moved, strict=True))


@pytest.mark.parametrize("case", table.REFUSED, ids=table.name_of)
def test_a_pair_without_sense_is_refused_by_name(case):
    outer, inner = case
    inside = table.make((inner,))
    kind = type(inside).__name__
    with pytest.raises(ValueError, match=f"must be no strategy for .*Received: a {kind}"):
        table.STRATEGIES[outer](inside)


REPLICAS = """
import combinations as table
found = {}
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with table.the_same_draws():
    for case in [tuple(name.split("_")) for name in sys.argv[1:]]:
        with mirrored.scope():
            strategy = table.compiled(case, table.make(case))
        found[table.name_of(case)] = table.train(case, strategy, epochs=1)["loss"]
print(json.dumps(found))
"""


FEW = [(name,) for name in table.STRATEGIES]


@pytest.mark.once
@pytest.mark.parametrize(
    "cases", [FEW, pytest.param(table.CASES, marks=pytest.mark.slow)], ids=["few", "all"]
)
def test_two_devices_are_one(cases):
    """Each has a half of the batch; what is perturbed, combined and estimated is the whole's."""
    found = run_on_two_devices(REPLICAS, *map(table.name_of, cases))
    for name in map(table.name_of, cases):
        # with policy gradients a replica draws for its half of the batch
        tolerance = {"abs": 0.1} if "policy" in name else {"rel": 1e-4, "abs": 1e-4}
        assert found[name][0] == pytest.approx(LOSSES[name][0], **tolerance), name
