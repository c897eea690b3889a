"""`Generator` with real, tiny transformers of large random weights, against the uncached model."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from table_model import TableModel, log_softmax

from kexue_keras import decoding, models

END = 5
ROWS, WIDTH = 16, 32
PROMPTS = [[2, 5, 0, 3], [2, 7, 8, 9, 6, 0], [4]]
SEGMENTS = [[0, 0, 1, 1], [0, 0, 0, 0, 0, 0], [0]]


def bert(application="unilm", seed=0, **config):
    sizes = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "max_position": WIDTH, "vocab_size": 11}
    model = models.Bert(application=application, **{"with_mlm": "linear", **sizes, **config})
    randomize(model, seed)
    return model


def randomize(model, seed):
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        center = 1.0 if "gamma" in variable.path else 0.0
        variable.assign(generator.normal(center, 0.6, variable.shape))


def plain_scores(model, prompt, segments, texts, application="unilm"):
    """log p of each text after the prompt, by the whole model without cache."""
    target = 1 if application == "unilm" else segments[-1]
    scores = []
    for start in range(0, len(texts), ROWS):
        token_ids, segment_ids = np.zeros((2, ROWS, min(WIDTH, model.max_position)), "int32")
        part = texts[start : start + ROWS]
        for row, ids in enumerate(part):
            read = [*prompt, *ids[:-1]]
            token_ids[row, : len(read)] = read
            segment_ids[row, : len(read)] = [*segments, *[target] * (len(ids) - 1)]
        inputs = [token_ids, segment_ids]
        log_p = log_softmax(ops.convert_to_numpy(model(inputs)))
        for row, ids in enumerate(part):
            places = len(prompt) - 1 + np.arange(len(ids))
            scores.append(log_p[row, places, ids].sum())
    return scores


def argmax_text(model, prompt, segments, maxlen):
    """Greedy decoding without cache."""
    ids = []
    while len(ids) < maxlen and END not in ids:
        extended = [[*ids, token] for token in range(11)]
        ids = extended[int(np.argmax(plain_scores(model, prompt, segments, extended)))]
    return ids


def assert_scores(model, results, prompt, segments, application="unilm"):
    texts = [ids for ids, _ in results]
    expected = plain_scores(model, prompt, segments, texts, application)
    np.testing.assert_allclose([score for _, score in results], expected, atol=1e-4)


def assert_same(found, expected):
    for results, others in zip(found, expected, strict=True):
        assert [ids for ids, _ in results] == [ids for ids, _ in others]
        np.testing.assert_allclose([s for _, s in results], [s for _, s in others], atol=1e-5)


@pytest.fixture(scope="module")
def deep():
    return bert(num_hidden_layers=2)


@pytest.fixture(scope="module")
def generator(deep):
    return decoding.Generator(deep, end_id=END, maxlen=6)


@pytest.fixture(scope="module")
def found(generator):
    return generator.beam_search(PROMPTS, SEGMENTS, topk=3)


@pytest.fixture(scope="module")
def small():
    return bert()


@pytest.fixture(scope="module")
def small_generator(small):
    return decoding.Generator(small, end_id=END, maxlen=4)


@pytest.fixture(scope="module")
def small_found(small_generator):
    return small_generator.beam_search(PROMPTS, SEGMENTS, topk=2)


def test_scores_are_those_of_the_uncached_model(deep, found):
    for results, prompt, segments in zip(found, PROMPTS, SEGMENTS, strict=True):
        assert_scores(deep, results, prompt, segments)
        assert len(results) == 3
        finished = [ids[-1] == END for ids, _ in results]
        assert finished == sorted(finished, reverse=True)
        assert all(END not in ids[:-1] and len(ids) <= 6 for ids, _ in results)
        assert all(len(ids) == 6 for ids, _ in results if ids[-1] != END)
    assert all(0 <= ids[0] < 11 and isinstance(ids[0], int) for r in found for ids, _ in r)


def test_a_batch_equals_one_by_one_whatever_the_padding(deep, generator, found):
    singles = [
        generator.beam_search([prompt], [segments], topk=3)[0]
        for prompt, segments in zip(PROMPTS, SEGMENTS, strict=True)
    ]
    assert_same(singles, found)
    long = [2, *[5, 6, 7, 8] * 5]
    with_a_long_one = generator.beam_search([long, *PROMPTS], [[0] * 21, *SEGMENTS], topk=3)
    assert_same(with_a_long_one[1:], found)
    assert_scores(deep, with_a_long_one[0], long, [0] * 21)


def test_an_array_padded_on_the_right(generator, found):
    token_ids, segment_ids = np.zeros((2, 3, 9), "int64")
    for row, (prompt, segments) in enumerate(zip(PROMPTS, SEGMENTS, strict=True)):
        token_ids[row, : len(prompt)] = prompt
        segment_ids[row, : len(segments)] = segments
    without_zeros = [prompt if prompt[-1] else prompt[:-1] for prompt in PROMPTS]
    segments = [s[: len(p)] for s, p in zip(SEGMENTS, without_zeros, strict=True)]
    expected = generator.beam_search(without_zeros, segments, topk=3)
    assert_same(generator.beam_search(token_ids, segment_ids, topk=3), expected)
    assert_same([expected[0], expected[2]], [found[0], found[2]])


def test_greedy_search_is_the_argmax_of_the_uncached_model(deep, generator):
    found = generator.beam_search(PROMPTS, SEGMENTS)
    for results, prompt, segments in zip(found, PROMPTS, SEGMENTS, strict=True):
        assert [ids for ids, _ in results] == [argmax_text(deep, prompt, segments, 6)]
        assert_scores(deep, results, prompt, segments)


def test_lm_continues_the_last_segment():
    model = bert("lm", num_hidden_layers=2)
    generator = decoding.Generator(model, end_id=END, maxlen=6)
    found = generator.beam_search(PROMPTS, SEGMENTS, topk=3)
    for results, prompt, segments in zip(found, PROMPTS, SEGMENTS, strict=True):
        assert_scores(model, results, prompt, segments, "lm")


def test_a_wide_beam_is_brute_force_on_a_transformer():
    model = bert(vocab_size=5)
    generator = decoding.Generator(model, end_id=3, maxlen=3)
    results = generator.beam_search([[2, 4, 1]], topk=90)[0]
    texts = [
        list(ids)
        for length in (1, 2, 3)
        for ids in itertools.product(range(5), repeat=length)
        if 3 not in ids[:-1] and (length == 3 or ids[-1] == 3)
    ]
    scores = dict(
        zip(map(tuple, texts), plain_scores(model, [2, 4, 1], [0] * 3, texts), strict=True)
    )
    order = sorted(texts, key=lambda ids: (ids[-1] != 3, -scores[tuple(ids)]))
    assert [ids for ids, _ in results] == order
    np.testing.assert_allclose(
        [s for _, s in results], [scores[tuple(i)] for i in order], atol=1e-4
    )


def test_start_id_begins_the_target(small):
    generator = decoding.Generator(small, end_id=END, maxlen=4, start_id=6)
    found = generator.beam_search([*PROMPTS, []], [*SEGMENTS, []], topk=2)
    prompts = [[*row, 6] for row in [*PROMPTS, []]]
    segments = [[*row, 1] for row in [*SEGMENTS, []]]
    for results, prompt, segment in zip(found, prompts, segments, strict=True):
        assert_scores(small, results, prompt, segment)


def test_further_training_is_seen_without_a_new_program():
    model = bert()
    generator = decoding.Generator(model, end_id=END, maxlen=4)
    traced = []
    prefill = generator.model.prefill

    def counting(*args):
        traced.append(1)
        return prefill(*args)

    generator.model.prefill = counting
    before = generator.beam_search(PROMPTS, SEGMENTS, topk=2)
    randomize(model, 1)
    after = generator.beam_search(PROMPTS, SEGMENTS, topk=2)
    assert before != after and len(traced) == 1
    for results, prompt, segments in zip(after, PROMPTS, SEGMENTS, strict=True):
        assert_scores(model, results, prompt, segments)


def test_a_prompt_may_fill_all_positions():
    model = bert(max_position=22)
    generator = decoding.Generator(model, end_id=END, maxlen=4)
    prompt = [2, *[5, 6, 7] * 6]
    results = generator.beam_search([prompt, [2, 4]], topk=2)
    assert_scores(model, results[0], prompt, [0] * 19)
    assert_scores(model, results[1], [2, 4], [0, 0])
    with pytest.raises(ValueError, match="must fit into the model's 22 positions. Received: 20"):
        generator.beam_search([[*prompt, 5]])


def test_saved_models_and_models_inside_others(small, small_found, tmp_path):
    small.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    generator = decoding.Generator(reloaded, end_id=END, maxlen=4)
    assert_same(generator.beam_search(PROMPTS, SEGMENTS, topk=2), small_found)
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    trainer = keras.Model(inputs, ops.mean(small(inputs), axis=-1))
    generator = decoding.Generator(trainer, end_id=END, maxlen=4)
    assert_same(generator.beam_search(PROMPTS, SEGMENTS, topk=2), small_found)


def test_target_positions_and_probabilities_as_output(small_found):
    model = bert(target_positions=True, with_mlm=True)
    generator = decoding.Generator(model, end_id=END, maxlen=4)
    assert_same(generator.beam_search(PROMPTS, SEGMENTS, topk=2), small_found)


def test_mixed_precision(small_found):
    model = bert(dtype="mixed_bfloat16")
    generator = decoding.Generator(model, end_id=END, maxlen=4)
    results = generator.beam_search(PROMPTS, SEGMENTS, topk=2)
    for pairs, exact in zip(results, small_found, strict=True):
        np.testing.assert_allclose(pairs[0][1], exact[0][1], rtol=0.1, atol=0.3)


def test_sampling_cold_is_greedy_and_does_not_depend_on_the_prompts_beside():
    model = bert(num_hidden_layers=2)
    bias = model.get_layer("MLM-Bias").weights[0]
    bias.assign(ops.convert_to_numpy(bias) + 4 * (np.arange(11) == 0))
    generator = decoding.Generator(model, end_id=END, maxlen=6)
    options = {"n": 2, "topk": 3, "seed": 5}
    texts = generator.random_sample(PROMPTS, SEGMENTS, **options)
    others = [PROMPTS[0], [9, 9, 9, 9, 9], [8, 5]]
    beside = generator.random_sample(others, [SEGMENTS[0], [0] * 5, [0] * 2], **options)
    assert beside[0] == texts[0] and beside != texts
    cold = generator.random_sample(PROMPTS, SEGMENTS, temperature=1e-6, **options)
    for found, prompt, segments in zip(cold, PROMPTS, SEGMENTS, strict=True):
        assert found == [argmax_text(model, prompt, segments, 6)] * 2
    assert any(0 in found[0] and {*found[0]} - {0} for found in cold)


def test_unfinished_texts_come_back_at_maxlen(small):
    tables = np.zeros((1, 3, 4, 4))
    tables[..., 3] = -50
    generator = decoding.Generator(TableModel(tables), end_id=3, maxlen=3)
    results = generator.beam_search([[0]], topk=2)[0]
    assert [len(ids) for ids, _ in results] == [3, 3]
    assert all(3 not in ids for ids, _ in results)
    np.testing.assert_allclose([score for _, score in results], 3 * np.log(1 / 3), rtol=1e-5)


def test_no_prompts(small_generator):
    assert small_generator.beam_search([]) == []
    assert small_generator.beam_search([], [], topk=2) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"end_id": 11}, "`end_id` must be an id below 11. Received: 11"),
        ({"end_id": -1}, "`end_id` must be an id below 11. Received: -1"),
        ({"end_id": 3, "start_id": 99}, "`start_id` must be an id below 11. Received: 99"),
        ({"end_id": 3, "maxlen": 0}, "`maxlen` must be at least 1. Received: 0"),
        ({"end_id": 3, "minlen": 0}, "`minlen` must be from 1 to maxlen 64. Received: 0"),
        ({"end_id": 3, "minlen": 9, "maxlen": 8}, "`minlen` must be from 1 to maxlen 8. Rec.* 9"),
    ],
)
def test_wrong_options(small, arguments, message):
    with pytest.raises(ValueError, match=message):
        decoding.Generator(small, **arguments)


def test_an_encoder_is_refused():
    with pytest.raises(ValueError, match="`model` must be built with .* Received: an encoder"):
        decoding.Generator(bert("encoder"), end_id=END)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[2], [4] * 30],), r"`token_ids\[1\]` and `maxlen` 4 must fit .* Received: 30 tokens"),
        (([[2, 11]],), r"`token_ids\[0\]` must hold ids from 0 to 10. Received: 2 to 11"),
        (([[2], [-1]],), r"`token_ids\[1\]` must hold ids from 0 to 10. Received: -1 to -1"),
        (([[2.0, 3.0]],), r"`token_ids\[0\]` must be a list of int. Received: .* float64"),
        (([[[2]]],), r"`token_ids\[0\]` must be a list of int. Received: shape \(1, 1\)"),
        (([2, 3],), r"`token_ids\[0\]` must be a list of int. Received: shape \(\)"),
        (([[2], []],), r"`token_ids\[1\]` must hold at least one token. Received: \[\]"),
        (([[2]], [[0], [0]]), "`segment_ids` must have as many rows .* 1. Received: 2"),
        (([[2, 4]], [[0]]), r"`segment_ids\[0\]` must have the length .* 2. Received: 1"),
        (([[2]], [["a"]]), r"`segment_ids\[0\]` must be a list of int. Received: .*U1"),
        (([[2]], [[0]], 0), "`topk` must be at least 1. Received: 0"),
        (([[2]], [[0]], 1, 0), "`min_ends` must be at least 1. Received: 0"),
    ],
)
def test_wrong_prompts(small_generator, arguments, message):
    with pytest.raises(ValueError, match=message):
        small_generator.beam_search(*arguments)
