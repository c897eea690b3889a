"""What a model knows of real moves, ply by ply."""

import numpy as np
import pytest

from kexue_keras.models import Bert
from kexue_keras.xiangqi.move_scorer import MoveScorer
from kexue_keras.xiangqi.plies import likelihood, measure_plies, write_plies

pytestmark = pytest.mark.once


class Oracle:
    """Stands for a `MoveScorer` that knows the games: each real move has the given rank."""

    max_plies = 127

    def __init__(self, rank):
        self.rank = rank

    def score_plies(self, game, moves):
        found = []
        for iccs, legal in zip(game, moves, strict=True):
            real = legal.index(iccs)
            others = [i for i in range(len(legal)) if i != real]
            order = [*others[: self.rank], real, *others[self.rank :]]
            scores = np.zeros(len(legal), "float32")
            scores[order] = -np.arange(len(legal)) - np.log(2)
            found.append(scores)
        return found

    def greedy_plies(self, game):
        return ["h2e2"] * len(game)


def test_measures(tmp_path):
    game = "h2e2 h9g7 e2h2 g7h9".split()
    rows = measure_plies(Oracle(0), [game])
    assert [row["ply"] for row in rows] == [1, 2, 3, 4]
    assert [row["first"] for row in rows] == [1.0] * 4
    assert [row["greedy_legal"] for row in rows] == [1.0, 0.0, 0.0, 0.0]
    assert rows[0]["bits"] == pytest.approx(1)
    assert [row["first"] for row in measure_plies(Oracle(4), [game])] == [0.0] * 4
    assert [row["first_five"] for row in measure_plies(Oracle(4), [game])] == [1.0] * 4
    assert [row["first_five"] for row in measure_plies(Oracle(5), [game])] == [0.0] * 4
    write_plies(rows + measure_plies(Oracle(5), [game[:2]]), tmp_path)
    lines = (tmp_path / "plies.csv").read_text().splitlines()
    assert lines[0] == "ply,games,first,first_five,greedy_legal,bits"
    assert lines[1].startswith("1,2,0.5,0.5,1.0,") and lines[3].startswith("3,1,1.0,")


def test_likelihood_is_the_mean_over_plies():
    model = Bert(20, 8, 1, 2, 16, application="lm", with_mlm="linear", max_position=32)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    found = likelihood(MoveScorer(model), [["h2e2"], ["h2e2", "h9g7"]])
    assert found["valid_bits_per_ply"] == pytest.approx(4 * np.log2(20), rel=1e-5)
    assert found["valid_move_probability"] == pytest.approx(20.0**-4, rel=1e-4)
