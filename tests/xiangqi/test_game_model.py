"""The computations of a move scorer; see test_move_scorer.py for what they are used for."""

import numpy as np
import pytest
from cached_steps import randomize
from contract import compile
from keras import ops

from kexue_keras import models
from kexue_keras.xiangqi.game_model import GameModel


@pytest.fixture(scope="module")
def model():
    options = {"application": "lm", "with_mlm": "linear", "max_position": 12}
    return randomize(models.Bert(9, 16, 2, 2, 32, **options))


def test_reading_gives_log_probabilities(model):
    game = GameModel(model)
    tokens = np.array([[1, 5, 2, 7]], "int32")
    read, follow = (compile(f, game.variables) for f in (game.read, game.continuations))
    graph = compile(lambda *inputs: model(list(inputs)), model.variables)
    after, cache = read(ops.convert_to_tensor(tokens), ops.zeros((), "int32"), game.empty())
    expected = ops.log_softmax(graph(tokens, np.zeros_like(tokens))[0], axis=-1)
    np.testing.assert_allclose(after, expected, atol=1e-4)
    assert len(cache) == 2 and tuple(cache[0][0].shape) == (1, 2, 12, 8)
    lengths, moves = np.array([2, 4], "int32"), np.array([[3], [6]], "int32")
    found = follow(ops.convert_to_tensor(moves), ops.convert_to_tensor(lengths), cache)
    for row, length, move in zip(ops.convert_to_numpy(found), lengths, moves, strict=True):
        text = np.array([[*tokens[0, :length], *move]], "int32")
        logits = graph(text, np.zeros_like(text))[0, -1:]
        np.testing.assert_allclose(row, ops.log_softmax(logits, axis=-1), atol=1e-4)


def test_the_fingerprint_tells_other_weights(model):
    game = GameModel(model)
    before = game.fingerprint()
    np.testing.assert_array_equal(before, game.fingerprint())
    bias = model.get_layer("MLM-Bias").bias
    bias.assign(bias + 1.0)
    assert not np.array_equal(before, game.fingerprint())
    bias.assign(bias - 1.0)


def test_rotary_positions_have_no_limit_but_a_cache_has():
    rotary = models.Bert(9, 16, 1, 2, 32, application="lm", position="rotary", max_position=30)
    assert GameModel(rotary).max_position == 30


def test_a_model_with_conditions_is_refused():
    conditional = models.Bert(9, 8, 1, 2, 16, application="lm", condition_size=2)
    with pytest.raises(ValueError, match="must have no condition.*Received: condition_size=2"):
        GameModel(conditional)


def test_a_model_with_an_encoder_is_refused():
    t5 = models.T5Blueprint(9, 8, 1, 2, 16)
    with pytest.raises(ValueError, match="must have no encoder.*Received: one"):
        GameModel(models.Transformer(t5))
