"""The prefix tree of a knowledge base, built once. No deep-learning framework is imported."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from kexue_keras.datasets import Triple, Triples
from kexue_keras.decoding.prefix_tree import PrefixTree

_CHUNK = 4096


def open_tree(
    paths: Sequence[Path],
    encode: Callable[[list[tuple[str, str, str]]], Iterable[list[int]]],
    vocabulary: Iterable[str],
    directory: Path,
) -> PrefixTree:
    """The prefix tree of all triples, built once per content of their files and vocabulary.

    Args:
        paths: files of `datasets.Triples`.
        encode: token ids of many `(subject, predicate, meaning)`, the keys of the tree.
        vocabulary: all tokens, in the order of their ids.
        directory: the tree is kept there, in a file whose name tells files and vocabulary.

    Returns:
        A tree whose payloads are `subject TAB predicate TAB meaning TAB object`.
    """
    digest = hashlib.blake2b("\n".join(vocabulary).encode(), digest_size=8)
    for path in paths:
        stat = path.stat()
        digest.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode())
    path = directory / f"tree-{digest.hexdigest()}.bin"
    if path.exists():
        return PrefixTree.load(path)
    directory.mkdir(parents=True, exist_ok=True)
    return PrefixTree.build(_items(read_triples(paths), encode), path)


def read_triples(paths: Sequence[Path]) -> Iterator[Triple]:
    """The triples of several files, one after another."""
    for path in paths:
        yield from Triples(path)


def _items(triples, encode):
    while chunk := list(itertools.islice(triples, _CHUNK)):
        keys = encode([(t.subject, t.predicate, t.meaning) for t in chunk])
        for key, t in zip(keys, chunk, strict=True):
            yield key, "\t".join((t.subject, t.predicate, t.meaning, t.object))
