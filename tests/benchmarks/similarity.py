"""Word mover's distances by the network simplex, against SciPy's linear programs.

    python tests/benchmarks/similarity.py              # 1,000 pairs of sentences

Work: exact word mover's distances of pairs of sentences of 10 to 30 words, vectors of 300. SciPy
solves the same problem as the article does, `linprog` with the redundant equality left out; it gets
a part of the pairs in every round, as it is slow. The two take turns; both must find the same
distances.
"""

import argparse
import statistics
import time

import numpy as np
from scipy.optimize import linprog

from kexue_keras import similarity


def sentences(count, rng):
    return [rng.normal(size=(rng.integers(10, 31), 300)) for _ in range(count)]


def linear_program(x, y):
    """The distance of two sentences by `scipy.optimize.linprog`."""
    n, m = len(x), len(y)
    cost = np.linalg.norm(x[:, None] - y[None], axis=-1)
    rows = np.repeat(np.eye(n), m, axis=1)
    columns = np.tile(np.eye(m), n)
    equalities = np.concatenate([rows, columns])[:-1]
    sums = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])[:-1]
    return linprog(cost.ravel(), A_eq=equalities, b_eq=sums).fun


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=int, default=20, help="SciPy solves one pair in so many")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    xs, ys = sentences(arguments.pairs, rng), sentences(arguments.pairs, rng)
    seconds, ratios = ([], []), []
    similarity.word_mover_distances(xs[:1], ys[:1])  # loads POT
    linear_program(xs[0], ys[0])
    for turn in range(arguments.rounds):
        began = time.perf_counter()
        found = similarity.word_mover_distances(xs, ys)
        seconds[0].append(time.perf_counter() - began)
        chosen = range(turn % arguments.share, arguments.pairs, arguments.share)
        began = time.perf_counter()
        expected = [linear_program(xs[i], ys[i]) for i in chosen]
        taken = time.perf_counter() - began
        seconds[1].append(taken * arguments.pairs / len(chosen))
        np.testing.assert_allclose(found[list(chosen)], expected, rtol=1e-6)
        ratios.append(seconds[1][-1] / seconds[0][-1])
    ratios.sort()
    print(f"{arguments.pairs} word mover's distances, {arguments.rounds} rounds")
    print(f"  ours          median {statistics.median(seconds[0]):8.3f} s")
    share = f"(from one pair in {arguments.share})"
    print(f"  SciPy linprog median {statistics.median(seconds[1]):8.3f} s {share}")
    print(
        f"  ours is {statistics.median(ratios):.0f} times as fast "
        f"({ratios[0]:.0f} to {ratios[-1]:.0f})"
    )


if __name__ == "__main__":
    main()
