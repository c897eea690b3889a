"""How long a language model of games takes to choose a move, along a whole game.

    python tests/benchmarks/move_scorer.py

A game of 127 plies of a random player is replayed; at every ply all legal moves are scored,
with the history of the game kept from ply to ply. Sizes are hidden size x layers, weights random.
"""

import argparse
import random
import time

import numpy as np

from kexue_keras import models
from kexue_keras.xiangqi import Board
from kexue_keras.xiangqi.move_scorer import CHARACTERS, MoveScorer
from kexue_keras.xiangqi.players import RandomPlayer


def measure(hidden_size, layers):
    """Milliseconds of every move of the game, compiled beforehand."""
    model = models.Bert(
        len(CHARACTERS.symbols),
        hidden_size,
        layers,
        max(1, hidden_size // 32),
        4 * hidden_size,
        max_position=512,
        application="lm",
        with_mlm="linear",
    )
    scorer = MoveScorer(model)
    times = []
    for measured in (False, True):
        board, player, rng = Board(), RandomPlayer(), random.Random(0)
        for _ in range(127):
            legal = board.legal_moves()
            began = time.perf_counter()
            scorer.rank(board.moves, legal)
            if measured:
                times.append(1000 * (time.perf_counter() - began))
            board.push(player.choose(board, rng))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["96x3", "128x4", "256x6"])
    for size in parser.parse_args().sizes:
        times = measure(*map(int, size.split("x")))
        print(f"{size:8} median {np.median(times):6.1f} ms a move, slowest {max(times):6.1f} ms")


if __name__ == "__main__":
    main()
