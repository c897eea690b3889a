"""A beam search inside a prefix tree finds the brute-force best keys."""

import keras
import numpy as np
import pytest
from contract import compile
from keras import ops
from table_model import TableModel

from kexue_keras import decoding, models
from kexue_keras.decoding.constraints.tree import TreeConstraint, tree_tensors
from kexue_keras.ops import LOWEST

END = 3
VOCABULARY = 24


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    model = models.Bert(
        VOCABULARY, 16, 1, 2, 32, application="unilm", with_mlm="linear", max_position=40
    )
    for variable in model.trainable_variables:
        variable.assign(variable * 6 + 0.01)
    return model


@pytest.fixture(scope="module")
def generator(model):
    return decoding.Generator(model, end_id=END, maxlen=8)


def random_keys(seed, count):
    """Keys `a END b END` with parts of 0 to 3 tokens."""
    rng = np.random.default_rng(seed)
    keys = set()
    while len(keys) < count:
        parts = [rng.integers(4, VOCABULARY, rng.integers(0, 4)).tolist() for _ in range(2)]
        keys.add((*parts[0], END, *parts[1], END))
    return sorted(keys)


@pytest.fixture(scope="module")
def log_probabilities(model):
    """A function of prompt and key: those of all tokens after each part of the key, by the model as
    it is, float64 `(len(key), VOCABULARY)`."""
    forward = compile(lambda *inputs: model(list(inputs)), model.variables)

    def of(prompt, key):
        token_ids, segment_ids = np.zeros((2, 1, 16), "int32")
        token_ids[0, : len(prompt) + len(key)] = [*prompt, *key]
        segment_ids[0, len(prompt) :] = 1
        inputs = map(ops.convert_to_tensor, (token_ids, segment_ids))
        logits = ops.convert_to_numpy(forward(*inputs)).astype("float64")[0]
        logits -= logits.max(-1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return logs[len(prompt) - 1 :][: len(key)]

    return of


@pytest.fixture(scope="module")
def log_probability(log_probabilities):
    """A function of prompt and key."""

    def of(prompt, key):
        return log_probabilities(prompt, key)[np.arange(len(key)), key].sum()

    return of


PROMPTS = [[2, 5, 6, 3], [2, 9, 3], [2, 20, 21, 22, 23, 3]]


class AsObject:
    """A tree with nothing but `next_tokens`."""

    def __init__(self, tree):
        self.tree = tree

    def next_tokens(self, prefix):
        return self.tree.next_tokens(prefix)


@pytest.mark.parametrize("wrap", [lambda tree: tree, AsObject], ids=["compiled", "on host"])
def test_wide_beam_ranks_all_keys_as_brute_force(log_probability, generator, wrap):
    for seed in (0, 1):
        keys = random_keys(seed, 12)
        tree = decoding.PrefixTree(keys)
        found = generator.beam_search(PROMPTS, topk=14, min_ends=2, constraint=wrap(tree))
        for prompt, results in zip(PROMPTS, found, strict=True):
            expected = sorted(((log_probability(prompt, k), k) for k in keys), reverse=True)
            assert [ids for ids, _ in results] == [list(key) for _, key in expected]
            scores = [score for score, _ in expected]
            np.testing.assert_allclose([s for _, s in results], scores, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("wrap", [lambda tree: tree, AsObject], ids=["compiled", "on host"])
def test_renormalized_among_what_is_allowed(log_probabilities, generator, wrap):
    keys = random_keys(3, 12)
    tree = decoding.PrefixTree(keys)

    def score(prompt, key):
        total, logs = 0.0, log_probabilities(prompt, key)
        for length, token in enumerate(key):
            allowed = tree.next_tokens(key[:length])
            total += logs[length, token] - np.logaddexp.reduce(logs[length, allowed])
        return total

    found = generator.beam_search(
        PROMPTS[:2], topk=14, min_ends=2, constraint=wrap(tree), renormalize=True
    )
    for prompt, results in zip(PROMPTS[:2], found, strict=True):
        expected = sorted(((score(prompt, k), k) for k in keys), reverse=True)
        assert [ids for ids, _ in results] == [list(key) for _, key in expected]
        scores = [s for s, _ in expected]
        np.testing.assert_allclose([s for _, s in results], scores, rtol=1e-4, atol=1e-3)
        assert np.exp(scores).sum() == pytest.approx(1, abs=1e-6)
    only = generator.beam_search(
        PROMPTS[:1], topk=2, constraint=wrap(decoding.PrefixTree([[5, 6, END]])), renormalize=True
    )
    assert [ids for ids, _ in only[0]] == [[5, 6, END]]
    assert only[0][0][1] == pytest.approx(0, abs=1e-5)
    dead = decoding.PrefixTree([[9]])
    found = generator.beam_search(PROMPTS, topk=2, constraint=wrap(dead), renormalize=True)
    assert found == [[], [], []]
    with pytest.raises(ValueError, match="`renormalize` needs a `constraint`"):
        generator.beam_search(PROMPTS, renormalize=True)


def test_narrow_beam_stays_in_the_tree_and_agrees_with_the_object(generator):
    tree = decoding.PrefixTree(random_keys(5, 400))
    compiled = generator.beam_search(PROMPTS, topk=3, min_ends=2, constraint=tree)
    asked = generator.beam_search(PROMPTS, topk=3, min_ends=2, constraint=AsObject(tree))
    for a, b in zip(compiled, asked, strict=True):
        assert [ids for ids, _ in a] == [ids for ids, _ in b]
        assert a and all(ids in tree for ids, _ in a)


@pytest.mark.parametrize("wrap", [lambda tree: tree, lambda tree: AsObject(tree)])
def test_a_likely_end_takes_no_place_of_what_goes_on(wrap):
    """After 5, the end is likelier than 6, and 6 than 7."""
    table = np.zeros((1, 4, 8, 8), "float32")
    table[:, 1, 5, [END, 6, 7]] = 3, 2, 1
    table[:, 2, 6, END], table[:, 2, 7, END] = -2, 5
    model = TableModel(table)

    def search(keys, topk, minlen=1):
        search = decoding.Generator(model, end_id=END, maxlen=4, minlen=minlen).beam_search
        (found,) = search([[0]], topk=topk, constraint=wrap(decoding.PrefixTree(keys)))
        return [ids for ids, _ in found]

    assert search([[5, END], [5, 6, END]], topk=1, minlen=3) == [[5, 6, END]]
    keys = [[5, END], [5, 6, END], [5, 7, END]]
    assert search(keys, topk=2) == [[5, END], [5, 7, END]]


def test_an_end_inside_a_key_is_no_end(generator):
    tree = decoding.PrefixTree([[5, END, 6, END], [7, END]])
    found = generator.beam_search(PROMPTS, topk=4, constraint=tree)
    assert all([ids for ids, _ in results] == [[7, END]] for results in found)


def test_dead_ends_give_no_result(generator):
    class Nothing:
        def next_tokens(self, prefix):
            return [] if prefix else [9]

    for constraint in (Nothing(), decoding.PrefixTree([[9]]), decoding.PrefixTree([])):
        assert generator.beam_search(PROMPTS, topk=2, constraint=constraint) == [[], [], []]


def test_one_object_per_sample(generator):
    trees = [decoding.PrefixTree([[5 + i, END]]) for i in range(3)]
    found = generator.beam_search(PROMPTS, topk=1, constraint=[AsObject(t) for t in trees])
    assert [results[0][0] for results in found] == [[5, END], [6, END], [7, END]]


def test_rescoring_without_change_changes_nothing_and_forbids(generator):
    tree = decoding.PrefixTree(random_keys(7, 60))

    class Same(AsObject):
        def rescore(self, prefix, tokens, log_probabilities):
            return log_probabilities

    class Without(AsObject):
        def rescore(self, prefix, tokens, log_probabilities):
            forbidden = (tokens == best[0]) & (len(prefix) == 0)
            return np.where(forbidden, -np.inf, log_probabilities)

    plain = generator.beam_search(PROMPTS[:1], topk=3, min_ends=2, constraint=AsObject(tree))
    same = generator.beam_search(PROMPTS[:1], topk=3, min_ends=2, constraint=Same(tree))
    assert [ids for ids, _ in plain[0]] == [ids for ids, _ in same[0]]
    np.testing.assert_allclose([s for _, s in plain[0]], [s for _, s in same[0]], rtol=1e-5)
    best = plain[0][0][0]
    others = generator.beam_search(PROMPTS[:1], topk=3, min_ends=2, constraint=Without(tree))
    assert all(ids[0] != best[0] for ids, _ in others[0])


def test_lookups_equal_the_tree_for_every_state_and_width():
    rng = np.random.default_rng(0)
    for fan in (3, 40, 700):
        keys = {(int(a), *rng.integers(0, 900, 2).tolist()) for a in rng.integers(0, fan, 4 * fan)}
        tree = decoding.PrefixTree(sorted(keys))
        constraint = TreeConstraint(
            tree_tensors(tree), tree.root, tree.first_branching, tree.max_degree
        )
        states = np.concatenate([rng.integers(0, tree.num_states, 30), [tree.root, -1]])
        logits = rng.normal(size=(len(states), 1, 900)).astype("float32")
        values, tokens, together = constraint.candidates(logits, states[:, None].astype("int32"), 5)
        values, tokens, together = map(ops.convert_to_numpy, (values, tokens, together))
        for i, state in enumerate(states):
            allowed = tree.children(int(state))[0] if state >= 0 else np.zeros(0, int)
            best = allowed[np.argsort(-logits[i, 0, allowed])][:5]
            assert tokens[i, 0, : len(best)].tolist() == best.tolist()
            assert (values[i, 0, len(best) :] <= LOWEST / 2).all()
            expected = np.logaddexp.reduce(logits[i, 0, allowed]) if len(allowed) else 0
            assert together[i, 0] == pytest.approx(expected, rel=1e-5)
        steps = rng.integers(0, 900, states.shape)
        after = constraint.advance(states[:, None].astype("int32"), steps[:, None].astype("int32"))
        np.testing.assert_array_equal(ops.convert_to_numpy(after)[:, 0], tree.step(states, steps))


def test_tokens_outside_the_vocabulary_are_never_chosen(generator):
    tree = decoding.PrefixTree([[VOCABULARY + 5, END], [4, END]])
    found = generator.beam_search(PROMPTS, topk=2, constraint=tree)
    assert all([ids for ids, _ in results] == [[4, END]] for results in found)
