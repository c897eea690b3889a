"""Move scores equal the plain model's, whatever is cached, batched, padded or left out."""

import random

import keras
import numpy as np
import pytest
from keras import ops

from kexue_keras import models
from kexue_keras.xiangqi.move_scorer import CHARACTERS, SQUARES, MoveScorer

CLOSE = {"rtol": 1e-4, "atol": 2e-4}


def make_model(tokens=CHARACTERS, plies=16, seed=0, **options):
    keras.utils.set_random_seed(seed)
    options = {"application": "lm", "with_mlm": "linear", **options}
    options["max_position"] = plies * tokens.per_move
    model = models.Bert(len(tokens.symbols), 16, 2, 2, 32, **options)
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(variable + rng.normal(size=variable.shape, scale=0.3))
    return model


def make_moves(count, seed=0):
    """Moves of the right form; the scorer knows no rules."""
    rng = random.Random(seed)
    return ["".join(rng.choice(c) for c in ("abcdefghi", "0123456789") * 2) for _ in range(count)]


def plain(model, token_ids):
    """Log probabilities of all next tokens, by the model as it is."""
    padded = np.zeros((1, model.max_position), "int32")
    padded[0, : len(token_ids)] = token_ids
    logits = model([padded, np.zeros_like(padded)])
    values = ops.convert_to_numpy(ops.log_softmax(ops.cast(logits, "float32")))[0]
    return values[: len(token_ids)]


def tokens_of(model):
    return {20: CHARACTERS, 91: SQUARES}[model.output_shape[-1]]


def plain_score(model, history, move):
    tokens = tokens_of(model)
    token_ids = tokens.encode([*history, move])
    values = plain(model, token_ids[:-1])
    last = range(len(token_ids) - tokens.per_move, len(token_ids))
    return sum(values[i - 1, token_ids[i]] for i in last)


@pytest.fixture(scope="module", params=[CHARACTERS, SQUARES], ids=["characters", "squares"])
def model(request):
    return make_model(request.param)


@pytest.fixture(scope="module")
def scorer(model):
    return MoveScorer(model)


@pytest.fixture(scope="module")
def game():
    return make_moves(15)


CANDIDATES = make_moves(40, seed=1)


@pytest.mark.parametrize(
    "tokens, size, per_move", [(CHARACTERS, 20, 4), (SQUARES, 91, 2)], ids=["characters", "squares"]
)
def test_games_as_ids(tokens, size, per_move):
    assert len(set(tokens.symbols)) == size and tokens.symbols[0] == "[PAD]"
    assert tokens.per_move == per_move
    assert tokens.encode([]) == [0]
    moves = make_moves(30)
    token_ids = tokens.encode(moves)
    assert "".join(tokens.symbols[i] for i in token_ids[1:]) == "".join(moves)
    assert len(token_ids) == 1 + 30 * per_move and 0 not in token_ids[1:]
    assert tokens.decode(token_ids) == moves
    assert tokens.decode(token_ids[:-1]) == moves[:-1]
    with pytest.raises(ValueError, match="`moves` must be moves in ICCS.*'h2e'"):
        tokens.encode(["h2e2", "h2e"])


@pytest.mark.parametrize("plies", [0, 1, 7, 15])
def test_scores_equal_the_plain_model(model, scorer, game, plies):
    history = game[:plies]
    expected = [plain_score(model, history, move) for move in CANDIDATES[:8]]
    np.testing.assert_allclose(scorer.score(history, CANDIDATES[:8]), expected, **CLOSE)


@pytest.mark.parametrize(
    "options",
    [
        {"attention_scale": "entropy_invariant", "train_length": 16},
        {"normalizer": "taylor_softmax"},
    ],
    ids=["entropy_invariant", "taylor_softmax"],
)
def test_every_attention_of_the_model_is_scored_as_it_is(options, game):
    model = make_model(**options)
    scorer = MoveScorer(model)
    for plies in (0, 9):
        expected = [plain_score(model, game[:plies], move) for move in CANDIDATES[:3]]
        np.testing.assert_allclose(scorer.score(game[:plies], CANDIDATES[:3]), expected, **CLOSE)


def test_batch_equals_one_by_one(scorer, game):
    together = scorer.score(game[:9], CANDIDATES)
    one_by_one = np.concatenate([scorer.score(game[:9], [move]) for move in CANDIDATES])
    np.testing.assert_allclose(together, one_by_one, **CLOSE)
    order = np.random.default_rng(0).permutation(len(CANDIDATES))
    shuffled = scorer.score(game[:9], [CANDIDATES[i] for i in order])
    np.testing.assert_allclose(shuffled, together[order], **CLOSE)


def test_more_moves_than_one_batch(scorer, game):
    moves = make_moves(600, seed=2)
    found = scorer.score(game[:3], moves)
    np.testing.assert_allclose(found[590:], scorer.score(game[:3], moves[590:]), **CLOSE)


def test_the_cache_of_any_past_gives_the_same(model, game):
    scorer, other = MoveScorer(model), make_moves(15, seed=5)
    visited = [game[:1], game[:3], game[:2], game[:2] + other[:3], game[:9], game, [], other]
    for history in visited:
        expected = [plain_score(model, history, move) for move in CANDIDATES[:2]]
        np.testing.assert_allclose(scorer.score(history, CANDIDATES[:2]), expected, **CLOSE)


def test_causality(model, scorer, game):
    changed = game[:8] + make_moves(7, seed=6)
    before, after = scorer.score_game(game), scorer.score_game(changed)
    np.testing.assert_allclose(before[:8], after[:8], **CLOSE)
    assert abs(before[8:] - after[8:]).min() > 1e-3
    rows = [plain(model, tokens_of(model).encode(moves)) for moves in (game, changed)]
    end = 1 + 8 * tokens_of(model).per_move
    np.testing.assert_allclose(rows[0][:end], rows[1][:end], **CLOSE)


def test_new_weights_are_seen_and_so_is_the_beginning(game):
    model, other = make_model(), make_model(seed=1)
    scorer = MoveScorer(model)
    before = scorer.score(game[:5], CANDIDATES[:3])
    model.set_weights(other.get_weights())
    expected = [plain_score(other, game[:5], move) for move in CANDIDATES[:3]]
    after = scorer.score(game[:5], CANDIDATES[:3])
    np.testing.assert_allclose(after, expected, **CLOSE)
    assert abs(after - before).min() > 1e-3
    # the first token has the id of padding; it is never masked
    table = model.get_layer("Embedding-Token").embeddings
    values = ops.convert_to_numpy(table.value).copy()
    values[0] += np.linspace(-3, 3, values.shape[1])
    table.assign(values)
    moved = scorer.score(game[:5], CANDIDATES[:3])
    expected = [plain_score(model, game[:5], move) for move in CANDIDATES[:3]]
    np.testing.assert_allclose(moved, expected, **CLOSE)
    assert abs(moved - after).max() > 1e-3


def test_all_plies_at_once_equal_one_by_one(scorer, game):
    moves = [CANDIDATES[: 3 + ply % 4] for ply in range(len(game))]
    moves[4] = []
    found = scorer.score_plies(game, moves)
    assert [len(x) for x in found] == [len(x) for x in moves]
    for ply in range(len(game)):
        expected = scorer.score(game[:ply], moves[ply])
        np.testing.assert_allclose(found[ply], expected, **CLOSE)
    played = scorer.score_plies(game, [[move] for move in game])
    np.testing.assert_allclose(scorer.score_game(game), np.concatenate(played), **CLOSE)
    assert scorer.score_plies(game, []) == [] and scorer.greedy_plies([]) == []


def test_greedy_writes_the_most_probable_token(model, scorer, game):
    tokens, found = tokens_of(model), scorer.greedy_plies(game)
    assert len(found) == len(game)
    for ply in (0, 6, 14):
        token_ids = tokens.encode(game[:ply])
        for _ in range(tokens.per_move):
            token_ids.append(int(1 + plain(model, token_ids)[-1, 1:].argmax()))
        written = token_ids[-tokens.per_move :]
        assert "".join(tokens.symbols[i] for i in written) == found[ply]


def test_ranking(scorer, game):
    ranked = scorer.rank(game[:4], CANDIDATES[:10])
    scores = scorer.score(game[:4], CANDIDATES[:10])
    assert [m.iccs for m in ranked] == [CANDIDATES[i] for i in np.argsort(-scores)]
    assert sum(m.probability for m in ranked) == pytest.approx(1)
    assert ranked[0].log_probability == pytest.approx(scores.max())
    ratio = ranked[0].probability / ranked[1].probability
    difference = ranked[0].log_probability - ranked[1].log_probability
    assert np.log(ratio) == pytest.approx(difference, abs=1e-5)
    assert scorer.rank(game[:4], []) == []


def test_longer_games_are_seen_through_a_window(model, scorer):
    assert scorer.max_plies == 15
    long = make_moves(40, seed=7)
    for plies, dropped in ((15, 0), (16, 6), (21, 6), (22, 12), (27, 12), (40, 30)):
        window = scorer.window(long[:plies])
        assert window == long[dropped:plies]
    expected = [plain_score(model, long[6:21], move) for move in CANDIDATES[:3]]
    np.testing.assert_allclose(scorer.score(long[:21], CANDIDATES[:3]), expected, **CLOSE)


def test_a_history_that_fills_512_positions():
    model = make_model(plies=128)
    scorer, history = MoveScorer(model), make_moves(128, seed=8)
    assert scorer.max_plies == 127
    scorer.score(history[:126], CANDIDATES[:3])
    found = scorer.score(history[:127], CANDIDATES[:3])
    expected = [plain_score(model, history[:127], move) for move in CANDIDATES[:3]]
    np.testing.assert_allclose(found, expected, **CLOSE)
    game = scorer.score_game(history)
    assert game.shape == (128,)
    assert game[127] == pytest.approx(plain_score(model, history[:127], history[127]), abs=1e-3)
    assert len(scorer.greedy_plies(history)) == 128


def test_mixed_precision(scorer, game):
    rough = MoveScorer(make_model(scorer.tokens, dtype="mixed_bfloat16")).score(
        game[:6], CANDIDATES[:20]
    )
    exact = scorer.score(game[:6], CANDIDATES[:20])
    assert abs(rough - exact).mean() < 0.05 * abs(exact).mean()


def test_errors(scorer, game):
    with pytest.raises(ValueError, match='application "lm".*unilm'):
        MoveScorer(models.Bert(20, 8, 1, 2, 16, application="unilm", with_mlm="linear"))
    with pytest.raises(ValueError, match="vocabulary of 20 or 91 tokens. Received: 21"):
        MoveScorer(models.Bert(21, 8, 1, 2, 16, application="lm", with_mlm="linear"))
    with pytest.raises(ValueError, match="at least 20 positions. Received: 16"):
        MoveScorer(
            models.Bert(20, 8, 1, 2, 16, application="lm", with_mlm="linear", max_position=16)
        )
    with pytest.raises(ValueError, match="`history` must be moves in ICCS.*'a0'"):
        scorer.score(["a0"], CANDIDATES)
    with pytest.raises(ValueError, match="`moves` must be moves in ICCS.*'j0j1'"):
        scorer.score([], ["j0j1"])
    with pytest.raises(ValueError, match="at most 16 plies.*Received: 17"):
        scorer.score_plies(make_moves(20), [[]] * 17)
