"""What a language model of games knows of the moves that were played, ply by ply."""

import csv
import math
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kexue_keras.files import replacing
from kexue_keras.xiangqi.board import Board

MEASURES = {
    "first": "real move ranked first among the legal ones",
    "first_five": "real move among the first five",
    "greedy_legal": "unconstrained greedy move is legal",
    "bits": "bits per ply",
}
"""Names of the figures, and what they are; all but the last are shares."""


def likelihood(scorer, games):
    """Bits per ply of games, and the geometric mean probability of a real move.

    Args:
        scorer: a `MoveScorer`.
        games: lists of moves in ICCS.
    """
    nats = np.concatenate([scorer.score_game(game) for game in games])
    bits = float(-nats.mean() / math.log(2))
    return {"valid_bits_per_ply": bits, "valid_move_probability": 2**-bits}


def measure_plies(scorer, games):
    """The figures of every ply: a list of dicts with `ply` (from 1) and those of `MEASURES`.

    Args:
        scorer: a `MoveScorer`.
        games: lists of moves in ICCS.
    """
    rows = []
    for game in tqdm(games, leave=False, disable=None):
        game = game[: scorer.max_plies + 1]
        board, legal = Board(), []
        for iccs in game:
            legal.append(board.legal_moves())
            board.push(iccs)
        scores, greedy = scorer.score_plies(game, legal), scorer.greedy_plies(game)
        for ply, (iccs, moves) in enumerate(zip(game, legal, strict=True)):
            real = scores[ply][moves.index(iccs)]
            rank = int((scores[ply] > real).sum())
            rows.append(
                {
                    "ply": ply + 1,
                    "first": float(rank == 0),
                    "first_five": float(rank < 5),
                    "greedy_legal": float(greedy[ply] in moves),
                    "bits": float(-real / math.log(2)),
                }
            )
    return rows


def write_plies(rows, directory):
    """Writes the means by ply to `plies.csv` and draws them, in `plies.png`.

    Args:
        rows: from `measure_plies`.
        directory: where to write.
    """
    from matplotlib.figure import Figure

    directory = Path(directory)
    by_ply = {}
    for row in rows:
        by_ply.setdefault(row["ply"], []).append(row)
    table = [
        {"ply": ply, "games": len(of_ply)}
        | {name: round(np.mean([row[name] for row in of_ply]).item(), 4) for name in MEASURES}
        for ply, of_ply in sorted(by_ply.items())
    ]
    with replacing(directory / "plies.csv") as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, table[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    shares, bits = figure.subplots(1, 2)
    plies = [row["ply"] for row in table]
    for name, label in MEASURES.items():
        axes, scale = (bits, 1) if name == "bits" else (shares, 100)
        axes.plot(plies, [scale * row[name] for row in table], label=label, linewidth=1)
    shares.set(xlabel="ply", ylabel="% of games", ylim=(0, 102))
    shares.legend(fontsize="small")
    bits.set(xlabel="ply", ylabel="bits per ply", ylim=(0, None))
    with replacing(directory / "plies.png") as temporary:
        figure.savefig(temporary)
