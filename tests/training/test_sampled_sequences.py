"""Rounds of texts with advantages; a policy gradient of sequences by an ordinary fit."""

import keras
import numpy as np
import pytest

from kexue_keras import decoding, losses, models, training
from kexue_keras.experiments import seq2seq

PROMPTS = [[2, 5, 3], [2, 6, 7, 8, 3], [2, 7, 3]]
MAXLEN, END = 3, 3


def unilm():
    keras.utils.set_random_seed(0)
    model = models.Bert(
        9, 8, 1, 2, 12, max_position=12, application="unilm", with_mlm="linear",
        target_positions=True,
    )  # fmt: skip
    return model


@pytest.fixture(scope="module")
def generator():
    return decoding.Generator(unilm(), end_id=END, maxlen=MAXLEN)


def fives(index, ids):
    """How many tokens are 5, less a little for the prompt."""
    return ids.count(5) - 0.1 * index


def rows_of(rounds):
    """Every filled row of all batches, `(prompt, ids, weight)`, read back from the arrays."""
    found = []
    for (tokens, segments, positions), targets, weights in (rounds[i] for i in range(len(rounds))):
        for t, s, p, y, w in zip(tokens, segments, positions, targets, weights, strict=True):
            if t.any():
                ids = t[s == 1].tolist()
                prompt = t[: int(np.argmax(s))].tolist()
                inputs, labels = seq2seq.arrays(prompt, ids)
                for array, expected in zip((t, s, p, y), (*inputs, labels), strict=True):
                    padded = expected + [0] * (len(array) - len(expected))
                    assert array.tolist() == padded
                found.append((PROMPTS.index(prompt), ids, w))
            else:
                assert not (s.any() or p.any() or y.any() or w)
    return found


@pytest.mark.parametrize("baseline", ["leave_one_out", None])
def test_a_round_is_laid_out_and_weighed(generator, baseline):
    rounds = training.SampledSequences(
        generator, PROMPTS, fives, n=3, batch_size=4, baseline=baseline, seed=1
    )
    assert len(rounds) == 3
    rows = rows_of(rounds)
    assert len(rows) == 9
    for index in range(3):
        rewards = [fives(index, ids) for i, ids, _ in rows if i == index]
        weights = [w for i, _, w in rows if i == index]
        assert len(rewards) == 3
        for k, (reward, weight) in enumerate(zip(rewards, weights, strict=True)):
            others = np.mean([r for j, r in enumerate(rewards) if j != k])
            assert weight == pytest.approx(reward - (others if baseline else 0), abs=1e-6)
    assert rounds.mean_reward == pytest.approx(np.mean([fives(i, ids) for i, ids, _ in rows]))


def test_a_round_depends_on_seed_and_number_alone(generator):
    options = {"n": 2, "batch_size": 2, "prompts_per_round": 2, "seed": 3}
    rounds = training.SampledSequences(generator, PROMPTS, fives, **options)
    found = []
    for number in (0, 1, 2, 0):
        rounds.draw(number)
        found.append(rows_of(rounds))
        assert len({i for i, _, _ in found[-1]}) == 2
    assert found[0] == found[3] and found[0] != found[1] != found[2]
    again = training.SampledSequences(generator, PROMPTS, fives, **options)
    assert rows_of(again) == found[0]


def test_fit_raises_the_reward_and_compiles_one_step():
    """The generator sees the weights of the step before; resumed is undisturbed."""
    traces = []

    class Traced(losses.SequenceCrossentropy):
        def __call__(self, *args, **kwargs):
            traces.append(1)
            return super().__call__(*args, **kwargs)

    def train(epochs, start=0, model=None):
        model = model or unilm()
        generator = decoding.Generator(model, end_id=END, maxlen=MAXLEN)
        rounds = training.SampledSequences(generator, PROMPTS, fives, n=8, batch_size=10, seed=0)
        if not model.compiled:
            model.compile(keras.optimizers.Adam(0.03), Traced())
        return model, model.fit(
            rounds,
            shuffle=False,
            epochs=epochs,
            initial_epoch=start,
            callbacks=[rounds.callback()],
            verbose=0,
        ).history

    model, history = train(1)
    once = len(traces)
    _, rest = train(9, 1, model)
    traces_of_parts = len(traces)
    rewards = history["reward"] + rest["reward"]
    assert np.mean(rewards[-2:]) > np.mean(rewards[:2]) + 0.5
    # a second `fit` traces no step that the first one has
    assert traces_of_parts - once <= once
    before = len(traces)
    _, whole = train(9)
    assert len(traces) - before == once
    np.testing.assert_allclose(whole["reward"], rewards, rtol=1e-6)
    np.testing.assert_allclose(whole["loss"][1:], rest["loss"], rtol=1e-4, atol=1e-5)


def test_what_is_refused(generator):
    make = lambda **options: training.SampledSequences(  # noqa: E731
        **{"generator": generator, "prompts": PROMPTS, "reward": fives, **options}
    )
    for options, message in (
        ({"prompts": []}, "`prompts` must be lists of ids"),
        ({"prompts": [[2], []]}, "`prompts` must be lists of ids"),
        ({"n": 0}, "`n` must be a positive integer. Received: 0"),
        ({"n": 1}, "`n` must be at least 2 for the baseline 'leave_one_out'. Received: 1"),
        ({"batch_size": 0.5}, "`batch_size` must be a positive integer. Received: 0.5"),
        ({"prompts_per_round": 4}, "`prompts_per_round` must be at most 3.*Received: 4"),
        ({"baseline": "mean"}, "`baseline` must be one of.*Received: 'mean'"),
        ({"seed": -1}, "`seed` must be a non-negative integer. Received: -1"),
        ({"reward": 1}, "`reward` must be a callable. Received: 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**options)
    with pytest.raises(ValueError, match="`reward` must return finite.*Received: nan for prompt"):
        make(reward=lambda index, ids: float("nan"))[0]
    with pytest.raises(IndexError, match="`index` must be below 1. Received: 1"):
        make()[1]
