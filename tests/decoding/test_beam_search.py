"""Beam search on tables: against brute force and against a slow search written with lists."""

import numpy as np
import pytest
from keras import ops
from table_model import TableModel, all_texts, log_softmax

from kexue_keras import decoding
from kexue_keras.decoding import beam_search

VOCABULARY, END = 4, 3
PROMPTS = [[0, 1], [1, 2, 2], [2]]


def random_tables(seed, steps):
    generator = np.random.default_rng(seed)
    return 2 * generator.normal(size=(3, steps, VOCABULARY, VOCABULARY)).astype("float32")


def ranked(texts, length_penalty):
    scored = [(ids, total / len(ids) ** length_penalty) for ids, total in texts]
    return sorted(scored, key=lambda pair: -pair[1])


def same(found, expected):
    assert [ids for ids, _ in found] == [ids for ids, _ in expected]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], atol=2e-5)


@pytest.mark.parametrize(
    ("min_ends", "minlen", "length_penalty"),
    [(1, 1, 0.0), (2, 1, 0.7), (3, 1, 0.0), (1, 3, -0.5), (2, 4, 0.7), (1, 2, 0.0)],
)
def test_a_wide_beam_finds_everything_in_order(min_ends, minlen, length_penalty):
    maxlen = 4
    model = TableModel(random_tables(0, maxlen))
    generator = decoding.Generator(model, end_id=END, maxlen=maxlen, minlen=minlen)
    for seed in range(3):
        tables = random_tables(seed, maxlen)
        model.tables.assign(tables)
        found = generator.beam_search(
            PROMPTS, topk=300, min_ends=min_ends, length_penalty=length_penalty
        )
        for prompt, results in zip(PROMPTS, found, strict=True):
            finished, unfinished = all_texts(
                tables[prompt[0]], prompt[-1], END, maxlen, min_ends, minlen
            )
            expected = ranked(finished, length_penalty) + ranked(unfinished, length_penalty)
            same(results, expected)
    assert model.compilations == 1


def slow_search(table, first, topk, maxlen, minlen, min_ends, length_penalty):
    """The definition, without stopping early: lists of (ids, score), finished ones first."""
    alive, pool = [([], 0.0)], []
    for step in range(maxlen):
        candidates = []
        for ids, total in alive:
            scores = log_softmax(table[step, ids[-1] if ids else first])
            candidates += [([*ids, t], total + s) for t, s in enumerate(scores)]

        def over(ids):
            return ids[-1] == END and ids.count(END) >= min_ends

        candidates = [c for c in candidates if not over(c[0]) or len(c[0]) >= minlen]
        candidates.sort(key=lambda pair: -pair[1])
        pool += [c for c in candidates[:topk] if over(c[0])]
        alive = [c for c in candidates if not over(c[0])][:topk]
    return (ranked(pool, length_penalty) + ranked(alive, length_penalty))[:topk]


@pytest.mark.parametrize(
    ("topk", "minlen", "min_ends", "length_penalty"),
    [(1, 1, 1, 0.0), (1, 3, 2, 0.7), (2, 1, 1, 0.0), (3, 3, 1, 0.7), (3, 1, 2, -0.5)],
)
def test_a_narrow_beam_is_the_definition_and_stops_early_without_loss(
    topk, minlen, min_ends, length_penalty
):
    maxlen = 6
    model = TableModel(random_tables(0, maxlen))
    generator = decoding.Generator(model, end_id=END, maxlen=maxlen, minlen=minlen)
    for seed in range(10, 30):
        tables = random_tables(seed, maxlen)
        model.tables.assign(tables)
        found = generator.beam_search(
            PROMPTS, topk=topk, min_ends=min_ends, length_penalty=length_penalty
        )
        for prompt, results in zip(PROMPTS, found, strict=True):
            arguments = (topk, maxlen, minlen, min_ends, length_penalty)
            same(results, slow_search(tables[prompt[0]], prompt[-1], *arguments))


def test_greedy_search_takes_the_most_probable_token():
    maxlen = 5
    model = TableModel(random_tables(0, maxlen))
    generator = decoding.Generator(model, end_id=END, maxlen=maxlen)
    for seed in range(20):
        tables = random_tables(seed, maxlen)
        model.tables.assign(tables)
        for prompt, results in zip(PROMPTS, generator.beam_search(PROMPTS), strict=True):
            ids, previous = [], prompt[-1]
            while len(ids) < maxlen and END not in ids:
                previous = int(tables[prompt[0], len(ids), previous].argmax())
                ids.append(previous)
            assert [found for found, _ in results] == [ids]


def options(**changes):
    default = {"topk": 1, "maxlen": 12, "minlen": 1, "min_ends": 1, "end_id": END}
    return beam_search.SearchOptions(**default | changes)


def steps_taken(tables, prompts, active, **changes):
    model = TableModel(tables)
    token_ids = np.array(prompts, "int32")
    lengths = np.full(len(token_ids), token_ids.shape[1], "int32")
    logits, source = model.prefill(
        ops.convert_to_tensor(token_ids), None, ops.convert_to_tensor(lengths)
    )
    active = ops.convert_to_tensor(active)
    found = beam_search.search(model, source, logits, active, options(**changes))
    return int(found["alive_length"])


def test_the_search_ends_when_nothing_can_win_any_more():
    tables = np.zeros((2, 12, VOCABULARY, VOCABULARY), "float32")
    tables[0, 2, :, END] = 9.0
    tables[:, :2, :, 1] = 9.0
    assert steps_taken(tables, [[0, 1]], [True]) == 3
    assert steps_taken(tables, [[0, 1], [0, 2]], [True, True], length_penalty=0.3) == 3
    assert steps_taken(tables, [[0, 1], [1, 1]], [True, False]) == 3
    tables[1, :, :, END] = -99.0
    assert steps_taken(tables, [[0, 1], [1, 1]], [True, True]) == 12


@pytest.mark.parametrize("leading", [(1,), (2, 3)])
@pytest.mark.parametrize(("size", "k"), [(1, 1), (5, 9), (7, 1), (63, 7), (1000, 2), (1025, 3)])
def test_top_k_equals_a_sort(leading, size, k):
    generator = np.random.default_rng(size)
    for spread in (1.0, 1e30):
        x = (spread * generator.random((*leading, size)) - spread).astype("float32")
        values, index = beam_search.top_k(ops.convert_to_tensor(x), k)
        expected = np.argsort(-x, axis=-1, kind="stable")[..., :k]
        np.testing.assert_array_equal(ops.convert_to_numpy(index), expected)
        values = ops.convert_to_numpy(values)
        np.testing.assert_array_equal(values, np.take_along_axis(x, expected, -1))
