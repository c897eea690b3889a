"""`PrefixTree` against brute force over the key set."""

import random
import subprocess
import sys

import numpy as np
import pytest

from kexue_keras.decoding.prefix_tree import PrefixTree

ALPHABETS = ([3], [0, 1], [0, 7, 65535], list(range(40)))


def random_items(seed):
    """Pairs (key, payload) with prefixes of keys, repeats, empty keys and adjacent equal tokens."""
    generator = random.Random(seed)
    alphabet = generator.choice(ALPHABETS)
    longest = generator.choice([0, 1, 3, 6])
    payloads = [None, "", "a", "b", "天\n\t", ["c", "a", "c"]]
    return [
        (
            tuple(generator.choice(alphabet) for _ in range(generator.randint(0, longest))),
            generator.choice(payloads),
        )
        for _ in range(generator.choice([0, 1, 2, 20, 150]))
    ]


def expected_items(items):
    collected = {}
    for key, payload in items:
        texts = [] if payload is None else [payload] if isinstance(payload, str) else payload
        collected.setdefault(key, {}).update(dict.fromkeys(texts))
    return [(key, tuple(collected[key])) for key in sorted(collected)]


def all_prefixes(keys):
    return {key[:length] for key in keys for length in range(len(key) + 1)} | {()}


def followers(keys, prefix):
    size = len(prefix)
    return sorted({key[size] for key in keys if len(key) > size and key[:size] == prefix})


@pytest.mark.parametrize("seed", range(60))
def test_equals_brute_force(seed):
    items = random_items(seed)
    tree = PrefixTree(items)
    wanted = expected_items(items)
    keys = [key for key, _ in wanted]
    assert list(tree.items()) == wanted
    assert len(tree) == len(keys) and list(tree) == keys
    for prefix in all_prefixes(keys):
        assert tree.next_tokens(prefix).tolist() == followers(keys, prefix)
        assert tree.is_key(prefix) == (prefix in tree) == (prefix in keys)
        assert tree.next_tokens([*prefix, 999]).size == 0 and [*prefix, 999] not in tree
    for position, (key, payloads) in enumerate(wanted):
        assert tree.rank(key) == position and tree.payloads(key) == payloads


@pytest.mark.parametrize("seed", range(20))
def test_reachable_completions_are_the_keys(seed):
    items = random_items(seed)
    tree = PrefixTree(items)
    reached, pending = set(), [()]
    while pending:
        prefix = pending.pop()
        if tree.is_key(prefix):
            reached.add(prefix)
        pending += [(*prefix, int(token)) for token in tree.next_tokens(prefix)]
    assert reached == {key for key, _ in items}


@pytest.mark.parametrize("seed", range(30))
def test_states_follow_prefixes(seed):
    items = random_items(seed)
    tree = PrefixTree(items)
    keys = {key for key, _ in items}
    state_of = {(): tree.root}
    for prefix in sorted(all_prefixes(keys), key=len):
        tokens, targets = tree.children(state_of[prefix])
        assert tokens.tolist() == followers(keys, prefix)
        state_of |= {(*prefix, t): int(s) for t, s in zip(tokens.tolist(), targets, strict=True)}
        low, high = tree.edge_start[state_of[prefix] :][:2]
        assert tree.edge_token[low:high].tolist() == tokens.tolist()
        assert tree.edge_target[low:high].tolist() == targets.tolist()
        assert tree.final[state_of[prefix]] == (prefix in keys)
        assert high - low <= tree.max_degree
    prefixes = list(state_of)
    tokens = [-1, 0, 1, 3, 7, 39, 65535, 70000]
    states = np.repeat([state_of[prefix] for prefix in prefixes], len(tokens))
    stepped = tree.step(states, np.tile(tokens, len(prefixes)))
    wanted = [state_of.get((*prefix, token), -1) for prefix in prefixes for token in tokens]
    assert stepped.dtype == np.int32 and stepped.tolist() == wanted
    assert tree.step([-1, tree.root], [0, -5]).tolist() == [-1, -1]


@pytest.mark.parametrize("seed", range(40))
def test_many_partitions_equal_one(seed):
    items = random_items(seed)
    whole = PrefixTree(items)
    parted = PrefixTree.build(items, progress=False, memory=3000)
    assert list(parted.items()) == list(whole.items())
    assert parted.num_states == whole.num_states and parted.num_edges == whole.num_edges


def test_automaton_is_minimal():
    keys = {key for seed in range(5) for key, _ in random_items(seed)}
    tree = PrefixTree(keys)
    languages = {
        frozenset(key[len(prefix) :] for key in keys if key[: len(prefix)] == prefix)
        for prefix in all_prefixes(keys)
    }
    assert tree.num_states == len(languages)


def test_shared_tails_are_stored_once():
    entities = [[100 + first, 200 + second] for first in range(20) for second in range(20)]
    tree = PrefixTree(entity + [1, relation, 1, 1] for entity in entities for relation in (5, 6, 7))
    assert len(tree) == 1200
    assert tree.num_states == 1 + 1 + 1 + 1 + 1 + 1 + 1


def test_article_example():
    sentences = ["明月几时有", "明天会更好", "明天下雨", "明天下午开会", "明天下午放假", "明年见"]
    sentences += ["今夕是何年", "今天天气不错"]
    tree = PrefixTree([list(map(ord, sentence)) for sentence in sentences])

    def children(prefix):
        return set(map(chr, tree.next_tokens(list(map(ord, prefix)))))

    assert children("") == {"明", "今"}
    assert children("明") == {"月", "天", "年"}
    assert children("明天") == {"会", "下"}


def test_empty_parts_of_a_triple():
    tree = PrefixTree([[5, 6, 1, 7, 1, 1], [5, 6, 1, 7, 1, 8, 1], [5, 6, 1, 1, 1]])
    assert tree.next_tokens([5, 6, 1]).tolist() == [1, 7]
    assert tree.next_tokens([5, 6, 1, 7, 1]).tolist() == [1, 8]
    assert [5, 6, 1, 1, 1] in tree


def test_payloads_keep_their_order_over_runs():
    stream = [((index % 7,), str(index % 35)) for index in range(700)]
    random.Random(0).shuffle(stream)
    tree = PrefixTree.build(stream, progress=False, memory=3000)
    for token in range(7):
        seen = dict.fromkeys(text for key, text in stream if key == (token,))
        assert tree.payloads([token]) == tuple(seen)


def test_long_payloads():
    tree = PrefixTree([[index] for index in range(70)], ["x" * 5000] * 70)
    assert all(tree.payloads([index]) == ("x" * 5000,) for index in range(70))


def test_arrays_and_parallel_payloads():
    tree = PrefixTree([np.array([4, 5]), np.array([4], np.uint16)], payloads=["p", None])
    assert tree.payloads(np.array([4, 5])) == ("p",) and tree.payloads([4]) == ()


def test_empty_tree_and_empty_key(tmp_path):
    for sequences in ([], [()]):
        PrefixTree(sequences).save(tmp_path / "tree")
        tree = PrefixTree.load(tmp_path / "tree", verify=True)
        assert list(tree) == sequences and tree.next_tokens([]).size == 0
        assert tree.is_key([]) == bool(sequences)
        assert tree.step([tree.root], [1]).tolist() == [-1]


@pytest.mark.parametrize("seed", range(8))
def test_build_to_file_and_reload(seed, tmp_path):
    items = random_items(seed)
    built = PrefixTree.build(items, tmp_path / "built", progress=False, memory=3000)
    PrefixTree(items).save(tmp_path / "saved")
    loaded = PrefixTree.load(tmp_path / "saved", verify=True)
    assert list(built.items()) == list(loaded.items()) == expected_items(items)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "saved"]


def test_unknown_keys_and_wrong_input_are_refused():
    tree = PrefixTree([[1, 2]])
    for unknown in ([1], [2], [1, 2, 3]):
        with pytest.raises(KeyError):
            tree.payloads(unknown)
    with pytest.raises(ValueError, match="Received: 65536"):
        PrefixTree([[65536]])
    with pytest.raises(ValueError, match="Received: -1"):
        PrefixTree([[-1]])
    with pytest.raises(TypeError, match="payload"):
        PrefixTree([[1]], [[3]])
    with pytest.raises(TypeError, match="integers"):
        PrefixTree([np.array([0.5])])
    with pytest.raises(ValueError, match="`memory` must be positive. Received: 0"):
        PrefixTree.build([[1]], memory=0, progress=False)
    with pytest.raises(ValueError, match="`state` must be in"):
        tree.children(tree.num_states)
    with pytest.raises(ValueError, match="`states` must be below"):
        tree.step([tree.num_states], [1])


def test_failed_build_leaves_the_old_file(tmp_path):
    path = tmp_path / "tree"
    PrefixTree([[1]]).save(path)
    with pytest.raises(ValueError, match="ids in"):
        PrefixTree.build([[1], [2], [-3]], path, progress=False)
    assert list(PrefixTree.load(path)) == [(1,)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["tree"]


def test_needs_no_deep_learning_framework():
    code = (
        "import importlib.util, sys, pathlib, types\n"
        "for name in ('kexue_keras', 'kexue_keras.decoding'):\n"
        "    module = types.ModuleType(name)\n"
        "    module.__path__ = [str(pathlib.Path.cwd() / name.replace('.', '/'))]\n"
        "    sys.modules[name] = module\n"
        "import kexue_keras.decoding.prefix_tree\n"
        "assert not {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)\n"
    )
    root = __file__.rsplit("tests", 1)[0]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
