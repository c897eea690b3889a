"""Sampling: the truncated distributions, exactly and by chi-square, and the whole loop."""

import numpy as np
import pytest
from keras import ops
from scipy import stats
from table_model import TableModel, log_softmax

from kexue_keras import decoding
from kexue_keras.decoding import sampling

VOCABULARY, END, MAXLEN = 6, 3, 4


def truncated(p, topk, topp, end_id=None):
    """The definition, on one distribution: `end_id` stays, if given."""
    order = sorted(range(len(p)), key=lambda token: -p[token])[:topk]
    kept, total = [], 0.0
    for token in order:
        if topp is not None and total / sum(p[t] for t in order) >= topp:
            break
        kept.append(token)
        total += p[token]
    result = np.zeros(len(p))
    kept = {*kept, *([] if end_id is None else [end_id])}
    for token in kept:
        result[token] = p[token]
    return result / result.sum()


def options(topk, topp, consistent):
    nucleus = topp is not None
    return sampling.SamplingOptions(topk, nucleus, consistent, END)


@pytest.mark.parametrize("consistent", [False, True])
@pytest.mark.parametrize(
    ("topk", "topp"), [(None, None), (3, None), (None, 0.6), (4, 0.8), (99, 1e-9), (1, 0.9)]
)
def test_candidates_are_the_renormalised_truncated_set(topk, topp, consistent):
    logits = 3 * np.random.default_rng(0).normal(size=(5, 7, 11)).astype("float32")
    temperature = 1.7
    weights, tokens = sampling.candidates(
        ops.convert_to_tensor(logits), options(topk, topp, consistent), temperature, topp
    )
    weights, tokens = ops.convert_to_numpy(weights), ops.convert_to_numpy(tokens)
    for place in np.ndindex(5, 7):
        found = np.zeros(11)
        np.add.at(found, tokens[place], weights[place])
        p = np.exp(log_softmax(logits[place] / temperature))
        expected = truncated(p, topk, topp, END if consistent else None)
        np.testing.assert_allclose(found / found.sum(), expected, atol=1e-6)


def test_an_unlikely_end_stays_only_in_consistent_sampling():
    logits = np.array([[[0.0, 1.0, 0.5, np.log(1e-9)]]], "float32")
    for consistent in (False, True):
        weights, tokens = sampling.candidates(
            ops.convert_to_tensor(logits), options(2, 0.9, consistent), 1.0, 0.9
        )
        probability = np.asarray(weights)[np.asarray(tokens) == END].sum()
        assert (probability > 0) == consistent


def test_the_end_of_probability_1e_9_has_exactly_its_share():
    p = np.array([0.5, 0.3, 0.2 - 1e-9, 1e-9])
    logits = np.log(p).astype("float32")[None, None]
    for consistent in (False, True):
        weights, tokens = sampling.candidates(
            ops.convert_to_tensor(logits), options(None, 0.9, consistent), 1.0, 0.9
        )
        weights, tokens = np.asarray(weights, "float64"), np.asarray(tokens)
        share = weights[tokens == END].sum() / weights.sum()
        if consistent:
            expected = truncated(p, None, 0.9, END)[END]
            np.testing.assert_allclose(share, expected, rtol=1e-4)
        else:
            assert share == 0


def test_an_end_of_probability_1e_9_is_drawn_by_the_numbers_below_it():
    p = np.array([0.5, 0.3, 0.2 - 1e-9, 1e-9])
    logits = np.log(p).astype("float32")[None, None]
    share = truncated(p, None, 0.9, END)[END]
    for topk, topp, of_end in ((None, 0.9, share), (2, 1.0, 1e-9 / 0.8), (None, 1.0, 1e-9)):
        weights, tokens = sampling.candidates(
            ops.convert_to_tensor(logits), options(topk, topp, True), 1.0, topp
        )
        for factor, ends in ((0.0, True), (0.99, True), (1.01, False), (50.0, False)):
            uniform = ops.convert_to_tensor(np.array([[factor * of_end]], "float32"))
            assert (int(sampling.pick(weights, tokens, uniform)[0, 0]) == END) == ends


def test_small_uniform_numbers_have_all_their_digits():
    numbers = sampling.uniforms(0, 2, 3, 500, 2000)
    assert numbers.dtype == np.float32 and 0 <= numbers.min() and numbers.max() < 1
    assert not numbers[2].any()
    assert numbers[:2].mean() == pytest.approx(0.5, abs=2e-3)
    small = numbers[:2][numbers[:2] < 2.0**-12].astype("float64") * 2**24
    assert len(small) > 300 and (small % 1 > 0).mean() > 0.9


def test_extreme_logits_and_temperatures_stay_finite():
    logits = np.array([[[3e4, -3e4, -np.inf, 2.9e4]]], "float32")
    for temperature in (1e-30, 1e30):
        weights, _ = sampling.candidates(
            ops.convert_to_tensor(logits), options(None, 0.9, True), temperature, 0.9
        )
        assert np.isfinite(np.asarray(weights)).all() and np.asarray(weights).sum() > 0


def test_pick_inverts_the_cumulated_weights_and_never_takes_weight_zero():
    weights = ops.convert_to_tensor(np.array([[[0.0, 2.0, 0.0, 6.0, 0.0]]], "float32"))
    tokens = ops.convert_to_tensor(np.array([[[5, 6, 7, 8, 9]]], "int32"))
    for uniform, expected in ((0.0, 6), (0.2499, 6), (0.2501, 8), (1 - 2**-24, 8)):
        uniform = ops.convert_to_tensor(np.array([[uniform]], "float32"))
        assert int(sampling.pick(weights, tokens, uniform)[0, 0]) == expected


@pytest.fixture(scope="module")
def model():
    tables = np.random.default_rng(4).normal(size=(3, MAXLEN, VOCABULARY, VOCABULARY))
    return TableModel(2 * tables)


@pytest.fixture(scope="module")
def generator(model):
    return decoding.Generator(model, end_id=END, maxlen=MAXLEN)


def text_probabilities(table, first, distribution, min_ends=1, minlen=1):
    """Probability of every text: a dict."""
    found = {}

    def grow(ids, previous, probability):
        if len(ids) == MAXLEN or (ids and ids[-1] == END and ids.count(END) >= min_ends):
            found[tuple(ids)] = probability
            return
        p = np.exp(log_softmax(table[len(ids), previous]))
        if ids.count(END) + 1 >= min_ends and len(ids) + 1 < minlen:
            p[END] = 0
        for token, chance in enumerate(distribution(p)):
            if chance > 0:
                grow([*ids, token], token, probability * chance)

    grow([], first, 1.0)
    return found


def assert_fits(texts, expected):
    """Chi-square over all texts, rare ones pooled."""
    counts = dict.fromkeys(expected, 0)
    for ids in texts:
        counts[tuple(ids)] += 1
    expected_counts = np.array([p * len(texts) for p in expected.values()])
    observed = np.array(list(counts.values()))
    rare = expected_counts < 5
    pooled = [np.append(x[~rare], x[rare].sum()) for x in (observed, expected_counts)]
    if pooled[1][-1] == 0:
        pooled = [x[:-1] for x in pooled]
    assert stats.chisquare(*pooled).pvalue > 1e-3


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"topk": 3},
        {"topk": 5, "topp": 0.8, "temperature": 1.3},
        {"topp": 0.5, "consistent": True},
        {"topp": 0.7, "min_ends": 2},
    ],
)
def test_texts_have_the_probabilities_of_the_definition(model, generator, arguments):
    prompts = [[0, 1], [2, 2]]
    found = generator.random_sample(prompts, n=3000, seed=1, **arguments)
    temperature = arguments.get("temperature", 1.0)
    end_id = END if arguments.get("consistent") else None

    def distribution(p):
        p = np.exp(log_softmax(np.log(p) / temperature))
        return truncated(p, arguments.get("topk"), arguments.get("topp"), end_id)

    tables = ops.convert_to_numpy(model.tables)
    for prompt, texts in zip(prompts, found, strict=True):
        min_ends = arguments.get("min_ends", 1)
        assert_fits(texts, text_probabilities(tables[prompt[0]], prompt[1], distribution, min_ends))


def test_minlen(model):
    generator = decoding.Generator(model, end_id=END, maxlen=MAXLEN, minlen=3)
    texts = generator.random_sample([[1, 4]], n=3000, seed=0)[0]
    table = ops.convert_to_numpy(model.tables)[1]
    assert_fits(texts, text_probabilities(table, 4, lambda p: p / p.sum(), minlen=3))
    assert min(map(len, texts)) == 3


def test_tiny_topp_small_topk_and_cold_temperature_are_greedy(generator):
    prompts = [[0, 1], [1, 5], [2, 0]]
    greedy = [[results[0][0]] * 2 for results in generator.beam_search(prompts)]
    assert generator.random_sample(prompts, n=2, topp=1e-9) == greedy
    assert generator.random_sample(prompts, n=2, topp=0.9, temperature=1e-6) == greedy
    assert generator.random_sample(prompts, n=2, topk=1) == greedy


def test_the_seed_decides_and_a_sample_does_not_depend_on_the_batch(generator):
    prompts = [[0, 1], [1, 5, 5], [2, 0], [0, 4], [1, 2]]
    together = generator.random_sample(prompts, n=4, seed=7)
    assert generator.random_sample(prompts, n=4, seed=7) == together
    assert generator.random_sample(prompts, n=4, seed=8) != together
    assert generator.random_sample(prompts[:2], n=4, seed=7) == together[:2]
    long_beside = [*prompts[:2], [2] * 20]
    assert generator.random_sample(long_beside, n=4, seed=7)[:2] == together[:2]
    assert together[0] != together[3]


def test_without_a_seed_numpys_global_generator_decides(generator):
    np.random.seed(3)
    first, second = (generator.random_sample([[0, 1]], n=8) for _ in range(2))
    np.random.seed(3)
    assert generator.random_sample([[0, 1]], n=8) == first != second


def test_other_temperature_and_topp_need_no_new_program(model, generator):
    generator.random_sample([[0, 1]], topp=0.5, seed=0)
    before = model.compilations
    generator.random_sample([[0, 1]], topp=0.9, temperature=3, seed=0)
    assert model.compilations == before


def test_the_loop_ends_with_the_last_text():
    tables = np.zeros((1, 50, VOCABULARY, VOCABULARY))
    tables[:, 2, :, END] = 99
    tables[:, :2, :, END] = -99
    model = TableModel(tables)
    generator = decoding.Generator(model, end_id=END, maxlen=50)
    texts = generator.random_sample([[0], [0, 1], [0]], n=3, seed=0)
    assert {len(ids) for sample in texts for ids in sample} == {3}
    token_ids = ops.convert_to_tensor(np.zeros((2, 1), "int32"))
    logits, source = model.prefill(token_ids, None, ops.ones((2,), "int32"))
    settings = sampling.SamplingOptions(None, False, False, END, 50)
    uniforms = ops.convert_to_tensor(sampling.uniforms(0, 1, 2, 3, 50))
    active = ops.convert_to_tensor(np.array([True, False]))
    found = sampling.sample(model, source, logits, active, settings, uniforms, 1.0, 1.0)
    assert int(found["index"]) == 3
    assert np.asarray(found["lengths"]).tolist() == [[3] * 3, [0] * 3]


class CountingModel(TableModel):
    """The next token is the number of generated tokens that are seen."""

    def step(self, token_ids, index, source, cache, visible):
        seen = ops.sum(ops.cast(visible, "int32"), axis=-1)
        return 9.0 * ops.one_hot(seen, self.vocab_size), cache


def test_generated_padding_is_not_seen():
    model = CountingModel(9 * np.eye(VOCABULARY)[None, None].repeat(MAXLEN, 1))
    generator = decoding.Generator(model, end_id=END, maxlen=MAXLEN)
    texts = generator.random_sample([[0, 0], [0, 1]], n=2, topk=1)
    assert texts == [[[0, 0, 0, 0]] * 2, [[1, 1, 2, 3]] * 2]


def test_consistent_sampling_ends_where_the_plain_one_does_not():
    tables = np.full((1, 40, 2, 2), 0.0)
    tables[..., 1] = -2.0
    generator = decoding.Generator(TableModel(tables), end_id=1, maxlen=40)
    plain = generator.random_sample([[0]], n=50, topk=1, seed=0)[0]
    consistent = generator.random_sample([[0]], n=50, topk=1, seed=0, consistent=True)[0]
    assert all(len(ids) == 40 and 1 not in ids for ids in plain)
    assert sum(ids[-1] == 1 for ids in consistent) >= 45
    tables = np.zeros((1, 40, 3, 3))
    tables[...] = np.log([0.5, 0.42, 0.08])
    generator = decoding.Generator(TableModel(tables), end_id=2, maxlen=40)
    plain = generator.random_sample([[0]], n=50, topp=0.9, seed=0)[0]
    consistent = generator.random_sample([[0]], n=50, topp=0.9, seed=0, consistent=True)[0]
    assert all(len(ids) == 40 and 2 not in ids for ids in plain)
    assert sum(ids[-1] == 2 for ids in consistent) >= 40


def test_no_prompts(generator):
    assert generator.random_sample([]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "`n` must be at least 1. Received: 0"),
        ({"topk": 0}, "`topk` must be at least 1. Received: 0"),
        ({"min_ends": 0}, "`min_ends` must be at least 1. Received: 0"),
        ({"topp": 0}, "`topp` must be over 0 and at most 1. Received: 0"),
        ({"topp": 1.5}, "`topp` must be over 0 and at most 1. Received: 1.5"),
        ({"temperature": 0}, "`temperature` must be positive. Received: 0"),
        ({"temperature": float("nan")}, "`temperature` must be positive. Received: nan"),
        ({"seed": -1}, "`seed` must not be negative. Received: -1"),
    ],
)
def test_errors(generator, arguments, message):
    with pytest.raises(ValueError, match=message):
        generator.random_sample([[0, 1]], **arguments)
