"""`AutoRegressiveDecoder`: bert4keras's interface, without its bugs."""

import keras
import numpy as np
import pytest
from table_model import all_texts, log_softmax

from kexue_keras.decoding import AutoRegressiveDecoder, auto_regressive

VOCABULARY, END = 4, 3


class TableDecoder(AutoRegressiveDecoder):
    """Reads p(next | step, previous token) from a table `(steps, V, V)`."""

    table = None

    @AutoRegressiveDecoder.wraps(default_rtype="logits")
    def predict(self, inputs, output_ids, states):
        assert len(inputs[0]) == len(output_ids) and (inputs[0] == [7, 8]).all()
        start = self.first_output_ids.shape[1]
        step = output_ids.shape[1] - start
        previous = output_ids[:, -1] if output_ids.shape[1] else np.zeros(len(output_ids), int)
        return self.table[step, previous]


class ProbabilityDecoder(AutoRegressiveDecoder):
    @AutoRegressiveDecoder.wraps(default_rtype="probas")
    def predict(self, inputs, output_ids, states):
        return np.tile(inputs[0][0], (len(output_ids), 1))


def random_table(seed, steps):
    return 2 * np.random.default_rng(seed).normal(size=(steps, VOCABULARY, VOCABULARY))


def decoder(table, start_id=None, minlen=1):
    made = TableDecoder(start_id, END, len(table), minlen)
    made.table = table
    return made


INPUTS = [np.array([7, 8])]


@pytest.mark.parametrize(
    ("start_id", "minlen", "min_ends"), [(None, 1, 1), (None, 3, 1), (1, 1, 2), (END, 3, 2)]
)
def test_a_wide_beam_finds_the_best_text(start_id, minlen, min_ends):
    for seed in range(10):
        table = random_table(seed, 4)
        own_minlen = minlen - (start_id is not None)
        finished, _ = all_texts(table, start_id or 0, END, 4, min_ends, own_minlen)
        best = max(finished, key=lambda pair: pair[1])[0]
        found = decoder(table, start_id, minlen).beam_search(INPUTS, 300, min_ends=min_ends)
        assert found.tolist() == ([] if start_id is None else [start_id]) + best


class Unnormalised(AutoRegressiveDecoder):
    """Step 1: .6, .4; then what a constraint left: .1 after token 0, .9 after token 1."""

    @AutoRegressiveDecoder.wraps(default_rtype="probas")
    def predict(self, inputs, output_ids, states):
        if not output_ids.shape[1]:
            return np.array([[0.6, 0.4, 0.0]])
        return np.array([[0, 0, 0.1 if last == 0 else 0.9] for last in output_ids[:, -1]])


def test_what_a_constraint_forbids_is_held_against_a_hypothesis():
    made = Unnormalised(start_id=None, end_id=2, maxlen=4)
    assert made.beam_search([[1]], topk=2).tolist() == [1, 2]
    texts = [ids.tolist() for ids in made.random_sample([[1]], 400, seed=0)]
    assert texts.count([0, 2]) + texts.count([1, 2]) == 400
    assert 200 < texts.count([0, 2]) < 280


def test_a_step_without_any_possible_token_is_an_error():
    made = Unnormalised(start_id=None, end_id=2, maxlen=4, minlen=3)
    with pytest.raises(ValueError, match="a token of positive probability. Received: none after 1"):
        made.random_sample([[1]], 2)


def test_greedy_search_takes_the_most_probable_token():
    for seed in range(10):
        table, ids = random_table(seed, 5), [0]
        while len(ids) <= 5 and END not in ids:
            ids.append(int(table[len(ids) - 1, ids[-1]].argmax()))
        assert decoder(table).beam_search(INPUTS, topk=1).tolist() == ids[1:]


def table_of(rows, steps, size):
    """A table of log probabilities; `rows` has distributions by (step, previous token)."""
    table = np.full((steps, size, size), 1 / size)
    for place, distribution in rows.items():
        table[place] = distribution
    return np.log(table)


def test_a_finished_text_that_is_not_the_best_at_its_step_is_kept():
    rows = {
        (0, 0): [0.03, 0.55, 0.02, 0.40],
        (1, 1): [0.35, 0.30, 0.25, 0.10],
        (2, 0): [0.3, 0.3, 0.1, 0.3],
    }
    table = table_of(rows, 3, VOCABULARY)
    finished, _ = all_texts(table, 0, END, 3)
    assert max(finished, key=lambda pair: pair[1])[0] == [END]
    assert decoder(table).beam_search(INPUTS, topk=2).tolist() == [END]


def test_the_beam_keeps_its_width_when_a_text_is_finished():
    rows = {
        (0, 0): [0.01, 0.71, 0.08, 0.20],
        (1, 1): [0.335, 0.332, 0.328, 0.005],
        (2, 2): [0.001, 0.001, 0.001, 0.997],
    }
    table = table_of(rows, 3, VOCABULARY)
    finished, _ = all_texts(table, 0, END, 3)
    assert max(finished, key=lambda pair: pair[1])[0] == [1, 2, END]
    widths = []
    made = decoder(table)
    predict = made.predict

    def watched(inputs, output_ids, *args):
        widths.append(len(output_ids))
        return predict(inputs, output_ids, *args)

    made.predict = watched
    assert made.beam_search(INPUTS, topk=3).tolist() == [1, 2, END]
    assert widths == [1, 3, 3]


def test_the_search_ends_when_nothing_alive_can_win():
    table = np.zeros((50, VOCABULARY, VOCABULARY))
    table[1, :, END] = 20
    calls = []
    made = decoder(table)
    predict = made.predict
    made.predict = lambda *args: calls.append(1) or predict(*args)
    assert made.beam_search(INPUTS, topk=2)[-1] == END
    assert len(calls) == 2


def test_unfinished_texts_and_tokens_that_cannot_be():
    table = np.zeros((3, VOCABULARY, VOCABULARY))
    table[..., 1:] = -np.inf
    assert decoder(table).beam_search(INPUTS, topk=3).tolist() == [0, 0, 0]
    for ids in decoder(table).random_sample(INPUTS, 5, topp=0.9):
        assert ids.tolist() == [0, 0, 0]


def test_rtype_and_temperature():
    p = np.array([[0.5, 0.25, 0.25, 0.0]])
    made = ProbabilityDecoder(None, END, 4)
    inputs, ids = [p[None]], np.empty((2, 0), int)
    probas, states = made.predict(inputs, ids, None)
    np.testing.assert_allclose(probas, [p[0], p[0]])
    assert states is None
    cold, _ = made.predict(inputs, ids, None, 0.5, "probas")
    np.testing.assert_allclose(cold[0], p[0] ** 2 / (p[0] ** 2).sum())
    logits, _ = made.predict(inputs, ids, None, 0.5, "logits")
    np.testing.assert_allclose(np.exp(logits), cold)
    from_logits, _ = decoder(random_table(0, 2)).predict(
        [np.array([[7, 8]])], ids[:1], None, 2.0, "probas"
    )
    np.testing.assert_allclose(from_logits[0], np.exp(log_softmax(random_table(0, 2)[0, 0] / 2)))


class RecurrentDecoder(AutoRegressiveDecoder):
    """Keeps in `states` a counter and, for every hypothesis, all its tokens but the last."""

    table = None

    @AutoRegressiveDecoder.wraps(default_rtype="logits", use_states=True)
    def predict(self, inputs, output_ids, states):
        step, history = states
        assert step == output_ids.shape[1]
        if step:
            history = np.concatenate([history, output_ids[:, -1:]], axis=1)
        np.testing.assert_array_equal(history[:, 1:], output_ids)
        previous = output_ids[:, -1] if step else np.zeros(len(output_ids), int)
        return self.table[step, previous], (step + 1, history)


def test_states_follow_their_hypotheses():
    made = RecurrentDecoder(None, END, 6)
    made.table = random_table(3, 6)
    states = (0, np.full((1, 1), 99))
    same = decoder(made.table)
    expected = same.beam_search(INPUTS, topk=3).tolist()
    assert made.beam_search(INPUTS, topk=3, states=states).tolist() == expected
    texts = made.random_sample(INPUTS, 20, states=states, seed=0)
    assert len(texts) == 20 and len({len(ids) for ids in texts}) > 1


@pytest.mark.parametrize("minlen", [1, 3])
@pytest.mark.parametrize(("topk", "topp"), [(None, None), (2, None), (None, 0.6), (3, 0.7)])
def test_samples_have_the_truncated_probabilities(topk, topp, minlen):
    table, count = random_table(5, 3), 4000
    texts = decoder(table, minlen=minlen).random_sample(INPUTS, count, topk, topp, seed=0)
    assert all(len(ids) == 3 or ids[-1] == END for ids in texts)
    p = np.exp(log_softmax(table[0, 0]))
    if minlen == 3:
        p[END] = 0
        assert all(END not in ids[:2] for ids in texts)
    order = np.argsort(-p)[:topk]
    if topp is not None:
        total = p[order] / p[order].sum()
        order = order[: 1 + int((total.cumsum() < topp).sum())]
    expected = np.zeros(VOCABULARY)
    expected[order] = p[order] / p[order].sum()
    found = np.bincount([ids[0] for ids in texts], minlength=VOCABULARY) / count
    assert (found[expected == 0] == 0).all()
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.25 / count))


def test_min_ends_start_id_and_seeds_of_samples():
    made = decoder(random_table(1, 5), start_id=END)
    texts = made.random_sample(INPUTS, 50, min_ends=2, seed=1)
    assert [ids.tolist() for ids in texts] == [
        ids.tolist() for ids in made.random_sample(INPUTS, 50, min_ends=2, seed=1)
    ]
    for ids in texts:
        assert ids[0] == END
        assert len(ids) == 6 or (ids[-1] == END and (ids[1:] == END).sum() == 2)
    keras.utils.set_random_seed(2)
    first = [ids.tolist() for ids in made.random_sample(INPUTS, 9)]
    keras.utils.set_random_seed(2)
    assert first == [ids.tolist() for ids in made.random_sample(INPUTS, 9)]


@pytest.mark.parametrize(("topk", "topp"), [(2, None), (None, 0.6), (2, 0.7), (None, None)])
def test_consistent_samples_keep_the_end(topk, topp):
    """Of the first token: the truncated set and the end, renormalised."""
    p = np.array([0.02, 0.4, 0.3, 0.18, 0.1])
    kept = {None: 5, 2: 2}[topk]
    order = np.argsort(-p)[:kept]
    if topp is not None:
        order = order[: 1 + int((p[order].cumsum() < topp * p[order].sum()).sum())]
    expected = np.zeros(5)
    expected[order] = p[order]
    expected[0] = p[0]
    uniform = (np.arange(20_000) + 0.5) / 20_000
    chosen = auto_regressive._choose(np.tile(p, (20_000, 1)), topk, topp, uniform, end=0)
    found = np.bincount(chosen, minlength=5) / 20_000
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-4)
    tiny = np.array([[1e-9, 0.5, 0.5, 0, 0]], "float32")
    for u, token in ((0.9e-9, 0), (1.1e-9, 1)):
        assert auto_regressive._choose(tiny, topk, topp, np.array([u]), end=0)[0] == token


def test_consistent_sampling_ends_where_the_plain_one_does_not():
    class Unwilling(AutoRegressiveDecoder):
        @AutoRegressiveDecoder.wraps("probas")
        def predict(self, inputs, output_ids, states):
            return np.tile([0.1, 0.5, 0.4], (len(output_ids), 1))

    decoder = Unwilling(start_id=1, end_id=0, maxlen=80)
    plain = decoder.random_sample([[1]], 20, topk=2, seed=0)
    consistent = decoder.random_sample([[1]], 20, topk=2, seed=0, consistent=True)
    assert all(len(ids) == 81 and 0 not in ids for ids in plain)
    assert sum(ids[-1] == 0 for ids in consistent) == 20


def test_a_tiny_topp_is_greedy():
    made = decoder(random_table(2, 5))
    greedy = made.beam_search(INPUTS, topk=1).tolist()
    assert [ids.tolist() for ids in made.random_sample(INPUTS, 3, topp=1e-9)] == [greedy] * 3


def test_last_token():
    inputs = keras.Input((None, 2))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    made = decoder(random_table(0, 2))
    last = made.last_token(model)
    assert made.last_token(model) is last
    x = np.random.default_rng(0).normal(size=(2, 5, 2)).astype("float32")
    expected = np.asarray(model(x))[:, -1]
    np.testing.assert_allclose(last.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.beam_search(INPUTS, 0), "`topk` must be at least 1. Received: 0"),
        (lambda d: d.beam_search(INPUTS, 1, min_ends=0), "`min_ends` must be .* Received: 0"),
        (lambda d: d.beam_search(INPUTS, 1, temperature=0), "`temperature` .* Received: 0"),
        (lambda d: d.random_sample(INPUTS, 0), "`n` must be at least 1. Received: 0"),
        (lambda d: d.random_sample(INPUTS, 1, topk=0), "`topk` must be .* Received: 0"),
        (lambda d: d.random_sample(INPUTS, 1, topp=0.0), "`topp` must be .* Received: 0.0"),
        (lambda d: d.predict(INPUTS, None, None, 1, "x"), "`rtype` must be .* Received: 'x'"),
        (lambda d: type(d)(None, END, 0), "`maxlen` must be at least 1. Received: 0"),
        (lambda d: d.wraps("x"), "`default_rtype` must be .* Received: 'x'"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(decoder(random_table(0, 2)))
