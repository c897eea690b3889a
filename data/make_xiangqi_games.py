"""Makes the small games of `recipes/chinese_chess.py`, played by simple players.

    python data/make_xiangqi_games.py          # writes data/xiangqi_games_{train,valid}.tsv

The capture player meets itself and, with red or black, the random player. After 50 half moves a
game is broken off, with the result unknown (`*`).
"""

import argparse
import os
import random
from pathlib import Path

from tqdm import tqdm

from kexue_keras.xiangqi.players import CapturePlayer, RandomPlayer, play_game

RESULTS = {"red": "1-0", "black": "0-1", None: "1/2-1/2"}
MAX_PLIES = 50


def game(seed, split, number):
    """Line `number` of a file: `result TAB moves`."""
    rng = random.Random(f"{seed}:{split}:{number}")
    capture, chance = CapturePlayer(), RandomPlayer()
    pairings = ((capture, capture), (capture, chance), (capture, capture), (chance, capture))
    board, winner, reason = play_game(*pairings[number % 4], rng, MAX_PLIES)
    result = "*" if reason == "ply limit" else RESULTS[winner]
    return f"{result}\t{' '.join(board.moves)}\n"


def write(path, lines):
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(lines), encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=800, help="number of games")
    parser.add_argument("--valid", type=int, default=50, help="number of games")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for split, size in (("train", options.train), ("valid", options.valid)):
        lines = [game(options.seed, split, number) for number in tqdm(range(size))]
        write(options.out / f"xiangqi_games_{split}.tsv", lines)
