"""Builds a prefix tree over a synthetic knowledge base of KgCLUE's shape and measures it.

    python tests/benchmarks/prefix_tree.py --triples 20559652 --seed 0

The knowledge base is made by a seeded generator; its constants follow KgCLUE's published counts
(20.6 M triples, 3.1 M entities, 246 k relations of which 3,833 occur more than 100 times) and the
length distributions of its questions (subject 5.1, relation 3.0, meaning 9.9 characters where there
is one, in 27 % of the entities). Characters and relations are drawn independently, so there is less
to share than in real text. Prints build time, peak memory, file size, time and memory to open, and
the time of `next_tokens`; then compares memory with nested dicts and marisa-trie on a subset.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SEPARATOR_ID, FIRST_CHARACTER, CHARACTERS = 102, 670, 6000
KGCLUE_TRIPLES, KGCLUE_ENTITIES, KGCLUE_RELATIONS = 20_559_652, 3_121_457, 245_838
SUBJECT_LENGTHS = [1, 277, 2752, 4314, 4154, 2257, 1667, 1174, 858, 663, 513, 336, 309, 194, 147]
RELATION_LENGTHS = [0, 257, 9056, 2051, 8036, 385, 215]
MEANING_LENGTHS = [0, 0, 237, 89, 640, 236, 410, 401, 378, 392, 312, 299, 373, 260, 234, 267, 210]
MEANING_SHARE, DISTINCT_MEANINGS = 0.27, 0.88
BLOCK = 200_000
QUERIES = 20_000


def texts(rng: np.random.Generator, count: int, length_weights: list[int], exponent: float):
    """Random strings as token ids: flat ids and the start of each string."""
    weights = np.array(length_weights, float)
    weights[0] = 0
    lengths = rng.choice(len(weights), count, p=weights / weights.sum())
    starts = np.append(0, np.cumsum(lengths))
    frequency = (np.arange(CHARACTERS) + 10.0) ** -exponent
    cumulated = np.cumsum(frequency) / frequency.sum()
    ranks = np.searchsorted(cumulated, rng.random(starts[-1], np.float32))
    names = rng.permutation(CHARACTERS).astype(np.uint16) + FIRST_CHARACTER
    return names[np.minimum(ranks, CHARACTERS - 1)], starts


def take(text, rows: np.ndarray, keep: np.ndarray | None = None):
    """Flat ids of strings `rows`, each with a separator behind it, and the lengths with it."""
    flat, starts = text
    lengths = starts[rows + 1] - starts[rows]
    if keep is not None:
        lengths = lengths * keep
    stops = np.cumsum(lengths + 1)
    out = np.full(stops[-1], SEPARATOR_ID, np.uint16)
    shift = np.repeat(starts[rows] - (np.cumsum(lengths) - lengths), lengths)
    inside = np.ones(len(out), bool)
    inside[stops - 1] = False
    out[inside] = flat[shift + np.arange(len(shift))]
    return out, lengths + 1


def knowledge(triples: int, seed: int) -> Iterator[tuple[list[int], str]]:
    """Pairs (token ids of `S [SEP] P [SEP] M [SEP]`, object), entity by entity."""
    rng = np.random.default_rng(seed)
    scale = triples / KGCLUE_TRIPLES
    entities = max(1, round(KGCLUE_ENTITIES * scale))
    relations = max(1, round(KGCLUE_RELATIONS * scale))
    subject = texts(rng, entities, SUBJECT_LENGTHS, 1.0)
    relation = texts(rng, relations, RELATION_LENGTHS, 1.0)
    with_meaning = rng.random(entities) < MEANING_SHARE
    meanings = max(1, int(with_meaning.sum() * DISTINCT_MEANINGS))
    meaning = texts(rng, meanings, MEANING_LENGTHS, 1.0)
    meaning_of = rng.integers(0, meanings, entities)
    mean_size = triples / entities
    owner = np.sort(rng.integers(0, entities, triples)) if mean_size > 1 else np.arange(triples)
    owner[:entities] = np.arange(entities)
    owner.sort()
    weight = (np.arange(1, relations + 1) + 10.0) ** -1.58
    cumulated = np.cumsum(weight) / weight.sum()
    every = rng.permutation(triples)[:relations]
    for start in range(0, triples, BLOCK):
        rows = owner[start : start + BLOCK]
        drawn = np.searchsorted(cumulated, rng.random(len(rows)))
        drawn = np.minimum(drawn, relations - 1)
        here = np.flatnonzero((every >= start) & (every < start + BLOCK))
        drawn[every[here] - start] = here
        parts = [
            take(subject, rows),
            take(relation, drawn),
            take(meaning, meaning_of[rows], with_meaning[rows]),
        ]
        sizes = [length for _, length in parts]
        total = sum(sizes)
        flat = np.empty(total.sum(), np.uint16)
        offset = np.cumsum(total) - total
        for ids, size in parts:
            place = np.repeat(offset - (np.cumsum(size) - size), size) + np.arange(len(ids))
            flat[place] = ids
            offset = offset + size
        flat, stops = flat.tolist(), np.cumsum(total).tolist()
        begin = 0
        for stop, answer in zip(stops, rng.integers(0, 10**9, len(rows)).tolist(), strict=True):
            yield flat[begin:stop], f"answer {answer}"
            begin = stop


def resident_megabytes() -> float:
    """Resident memory of this process now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure_opening(path: str, seed: int) -> dict:
    """Run in a fresh process: time and memory to open, then the time of `next_tokens`."""
    from kexue_keras.decoding.prefix_tree import PrefixTree

    before = resident_megabytes()
    start = time.perf_counter()
    tree = PrefixTree.load(path)
    result = {"load seconds": time.perf_counter() - start}
    tree.next_tokens([])
    result["resident MB after loading"] = resident_megabytes() - before
    rng = random.Random(seed)
    prefixes = []
    while len(prefixes) < QUERIES:
        prefix: list[int] = []
        while (allowed := tree.next_tokens(prefix)).size:
            prefixes.append(list(prefix))
            prefix.append(int(allowed[rng.randrange(allowed.size)]))
    rng.shuffle(prefixes)
    times = []
    for prefix in prefixes:
        start = time.perf_counter()
        tree.next_tokens(prefix)
        times.append(time.perf_counter() - start)
    result["next_tokens median us"], result["next_tokens p99 us"] = (
        1e6 * np.percentile(times, [50, 99])
    ).tolist()
    result["resident MB after queries"] = resident_megabytes() - before
    return result


def nested_dicts(keys: Iterator[tuple[list[int], str]]) -> float:
    """Megabytes of nested dicts over `keys`."""
    before = resident_megabytes()
    tree: dict = {}
    for key, _ in keys:
        node = tree
        for token in key:
            node = node.setdefault(token, {})
    return resident_megabytes() - before


def measure_memory(kind: str, triples: int, seed: int) -> dict:
    """Run in a fresh process: megabytes of one of the compared structures, without payloads."""
    if kind == "nested dicts":
        return {kind: nested_dicts(knowledge(triples, seed))}
    try:
        import marisa_trie
    except ImportError:
        return {}
    trie = marisa_trie.Trie("".join(map(chr, key)) for key, _ in knowledge(triples, seed))
    return {"marisa-trie": len(trie.tobytes()) / 2**20}


def child(*arguments) -> dict:
    """Call this file in a fresh process."""
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def tree_bytes(path: Path) -> tuple[int, int]:
    """Bytes of the automaton and of the payload index."""
    from kexue_keras.decoding.prefix_tree.file import read_arrays

    arrays = read_arrays(path)[1]
    index = arrays["payload_start"].nbytes
    total = sum(array.nbytes for array in arrays.values())
    return total - index - arrays["payload_bytes"].nbytes, index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--triples", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=1 << 30, help="working memory in bytes")
    parser.add_argument("--compare", type=int, default=1_000_000, help="triples to compare with")
    parser.add_argument("--folder", default=None, help="where the tree is written")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, first, second = options.child
        opening = kind == "open"
        result = (
            measure_opening(first, int(second))
            if opening
            else measure_memory(kind, int(first), int(second))
        )
        print(json.dumps(result))
        return

    from kexue_keras.decoding.prefix_tree import PrefixTree

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "knowledge.tree"
        start = time.perf_counter()
        for _ in knowledge(options.triples, options.seed):
            pass
        print(f"generator alone       {time.perf_counter() - start:10.1f} s")
        imports = resident_megabytes()
        start = time.perf_counter()
        stream = knowledge(options.triples, options.seed)
        tree = PrefixTree.build(stream, path, memory=options.memory, total=options.triples)
        print(f"generator and build   {time.perf_counter() - start:10.1f} s")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(f"peak memory           {peak:10.0f} MB ({imports:.0f} MB of it before building)")
        automaton, index = tree_bytes(path)
        print(f"keys / states / edges {len(tree):,} / {tree.num_states:,} / {tree.num_edges:,}")
        print(f"largest degree        {tree.max_degree:10d}")
        print(f"automaton             {automaton / 2**20:10.1f} MB")
        print(f"payload index         {index / 2**20:10.1f} MB")
        print(f"file with payloads    {path.stat().st_size / 2**20:10.1f} MB")
        for name, value in child("open", path, options.seed).items():
            print(f"{name:26s}{value:10.4f}")
        compared = min(options.compare, options.triples)
        if not compared:
            return
        small = Path(folder) / "compared.tree"
        PrefixTree.build(knowledge(compared, options.seed), small, progress=False)
        ours = tree_bytes(small)[0] / 2**20
        print(f"without payloads, {compared:,} triples: this tree {ours:.1f} MB")
        for kind in ("nested dicts", "marisa-trie"):
            for name, megabytes in child(kind, compared, options.seed).items():
                print(f"  {name} {megabytes:.1f} MB, {megabytes / ours:.1f} times")


if __name__ == "__main__":
    main()
