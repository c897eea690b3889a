"""Chinese chess as a language: games as token ids, and a language model's opinion of moves.

A game is one string of ICCS moves, `h2e2h9g7...`. Its tokens are the article's, four characters a
ply over an alphabet of 19, or the 90 squares of the board, two a ply. The probability of a move
after a history is the product of those of its tokens; taking the most probable one of the legal
moves always gives a legal move.

Example:

>>> CHARACTERS.encode(["h2e2"]), SQUARES.encode(["h2e2"])
([0, 18, 3, 15, 3], [0, 73, 43])
>>> CHARACTERS.decode([0, 18, 3, 15, 3])
['h2e2']

Reference: https://kexue.fm/archives/7877
"""

from typing import NamedTuple

import numpy as np
from keras import ops

from kexue_keras import backend
from kexue_keras.xiangqi.game_model import GameModel
from kexue_keras.xiangqi.moves import checked_moves

BOS = 0
"""Id that begins every game, and pads it; the model never masks the first position."""

_READS = (8, 32, 128)
_SMALLEST_BATCH, _LARGEST_BATCH = 64, 512


class MoveTokens:
    """What a move is divided into.

    Args:
        symbols: strings of one length, which divides 4.

    Attributes:
        symbols: the vocabulary, "[PAD]" first.
        per_move: tokens of a move.
    """

    def __init__(self, symbols):
        self.symbols = ("[PAD]", *symbols)
        self.per_move = 4 // len(symbols[0])
        self._ids = {symbol: i for i, symbol in enumerate(self.symbols)}

    def encode(self, moves):
        """Ids of a game, the one that begins it included: `1 + per_move * len(moves)` of int."""
        moves = checked_moves("moves", moves)
        size = 4 // self.per_move
        return [BOS, *(self._ids[m[i : i + size]] for m in moves for i in range(0, 4, size))]

    def decode(self, token_ids):
        """The whole moves in the ids of a game."""
        text = "".join(self.symbols[i] for i in token_ids[1:])
        return [text[end - 4 : end] for end in range(4, len(text) + 1, 4)]


CHARACTERS = MoveTokens("0123456789abcdefghi")
"""The article's: all of them are in the vocabulary of a BERT."""
SQUARES = MoveTokens([file + rank for file in "abcdefghi" for rank in "0123456789"])
"""Half as many tokens a game, and the same token wherever a piece stands on the same square."""


class ScoredMove(NamedTuple):
    """A move with the model's opinion.

    Attributes:
        iccs: the move.
        probability: its share of the probability of all moves it was ranked with.
        log_probability: sum of the log probabilities of its tokens, in nats.
    """

    iccs: str
    probability: float
    log_probability: float


class MoveScorer:
    """The probabilities that a language model of games gives to moves.

    The history's keys and values are computed once and kept: of the next position only what is new
    is read, after moves were taken back nothing is. All moves of a position are scored in one
    batch; a move is known beforehand, so its tokens are read side by side, not one by one.
    Programs are compiled once per padded size (numbers of moves up to a power of two, 64 to 512;
    new history 8, 32 or 128 tokens, or all). When the weights of the model change, the history
    is read again: the token embeddings and the output bias tell.

    Games longer than the model's positions: a position can be scored after at most `max_plies`
    plies (of 512 positions 127 in characters, 255 in squares). Of a longer history the model sees
    the last plies only: as many times `max_plies // 4` plies and their replies as needed are left
    out at the front, so that the side to move stays the same and the window moves rarely. The model
    has seen no such beginnings of games, so it plays worse from there on.

    Args:
        model: a model of `build_transformer_model` with application "lm" and the vocabulary of
            `CHARACTERS` (20) or `SQUARES` (91).

    Attributes:
        tokens: `CHARACTERS` or `SQUARES`, of which the vocabulary is.

    Example:

    >>> from kexue_keras import models
    >>> model = models.Bert(20, 8, 1, 2, 16, application="lm", with_mlm="linear")
    >>> scorer = MoveScorer(model)
    >>> scorer.max_plies, scorer.score(["h2e2"], ["h9g7", "h7e7"]).shape
    (127, (2,))
    >>> [round(move.probability) for move in scorer.rank(["h2e2"], ["h9g7"])]
    [1]
    """

    def __init__(self, model):
        self.model = GameModel(model)
        if self.model.application != "lm":
            raise ValueError(
                '`model` must be built with application "lm". '
                f"Received: one with application {self.model.application!r}"
            )
        by_size = {len(tokens.symbols): tokens for tokens in (CHARACTERS, SQUARES)}
        if self.model.vocab_size not in by_size:
            raise ValueError(
                f"`model` must have a vocabulary of {' or '.join(map(str, by_size))} tokens. "
                f"Received: {self.model.vocab_size}"
            )
        self.tokens = by_size[self.model.vocab_size]
        self._per_move = self.tokens.per_move
        self.max_position = self.model.max_position
        self.max_plies = self.max_position // self._per_move - 1
        if self.max_plies < 4:
            raise ValueError(
                f"`model` must have at least {5 * self._per_move} positions. "
                f"Received: {self.max_position}"
            )
        self._read = backend.jit(self.model.read, self.model.variables)
        self._continue = backend.jit(self.model.continuations, self.model.variables)
        self._forget()

    def _forget(self):
        self._known = []
        self._cache = self.model.empty()
        self._after = np.zeros((self.max_position, self.model.vocab_size), "float32")
        self._weights = None

    def window(self, history):
        """The part of a history that the model sees, see above."""
        history = list(history)
        over = len(history) - self.max_plies
        block = 2 * (self.max_plies // 4)
        return history[-(-over // block) * block :] if over > 0 else history

    def score(self, history, moves):
        """Summed log probabilities of the tokens of moves, `(len(moves),)`, float32, in nats.

        Args:
            history: the moves of the game so far, in ICCS.
            moves: moves in ICCS, the legal ones say.
        """
        history, moves = checked_moves("history", history), checked_moves("moves", moves)
        token_ids = self.tokens.encode(self.window(history))
        self._remember(token_ids)
        return self._score(moves, [len(token_ids)] * len(moves))

    def rank(self, history, moves):
        """The moves as `ScoredMove`, best first; of equally good ones the first in `moves`."""
        scores = self.score(history, moves)
        if not len(scores):
            return []
        weights = np.exp(scores.astype("float64") - scores.max())
        shares = weights / weights.sum()
        order = np.argsort(-scores, kind="stable")
        return [ScoredMove(moves[i], float(shares[i]), float(scores[i])) for i in order]

    def score_game(self, game):
        """`score` of every move as it was played, of the first `max_plies + 1` plies at most."""
        token_ids = self.tokens.encode(game[: self.max_plies + 1])
        self._remember(token_ids[:-1])
        values = self._after[np.arange(len(token_ids) - 1), token_ids[1:]]
        return values.reshape(-1, self._per_move).sum(axis=1)

    def score_plies(self, game, moves):
        """`score` at every ply of a game, much faster than one by one.

        Args:
            game: the moves of a game.
            moves: for each ply a list of moves; the first `max_plies + 1` plies at most.

        Returns:
            A list of arrays, one per ply of `moves`.
        """
        game = self._game(game, len(moves))
        self._remember(self.tokens.encode(game))
        flat = [iccs for of_ply in moves for iccs in checked_moves("moves", of_ply)]
        lengths = [1 + self._per_move * ply for ply, of_ply in enumerate(moves) for _ in of_ply]
        ends = np.cumsum([len(of_ply) for of_ply in moves])
        return np.split(self._score(flat, lengths), ends[:-1]) if len(moves) else []

    def greedy_plies(self, game):
        """What the model would write for every ply, the most probable token each time.

        Nothing keeps it to the rules, nor characters to letters where letters belong.

        Returns:
            A list of strings of four characters, for the first `max_plies + 1` plies at most.
        """
        plies = min(len(game), self.max_plies + 1)
        game = self._game(game, plies)
        if not plies:
            return []
        self._remember(self.tokens.encode(game))
        lengths = 1 + self._per_move * np.arange(plies)
        written = np.zeros((plies, self._per_move), "int32")
        written[:, 0] = _best(self._after[lengths - 1])
        for place in range(1, self._per_move):
            written[:, place] = _best(self._next(written[:, :-1], lengths)[:, place - 1])
        return ["".join(self.tokens.symbols[i] for i in row) for row in written]

    def _game(self, game, plies):
        game = checked_moves("game", game)
        if plies > min(len(game), self.max_plies + 1):
            raise ValueError(
                f"`moves` must be of at most {self.max_plies + 1} plies, and not more than the "
                f"game's {len(game)}. Received: {plies}"
            )
        return game[: min(plies, self.max_plies)]

    def _score(self, moves, lengths):
        if not moves:
            return np.zeros(0, "float32")
        tokens = np.array([self.tokens.encode([iccs])[1:] for iccs in moves], "int32")
        lengths = np.array(lengths, "int32")
        rows = np.arange(len(moves))
        total = self._after[lengths - 1, tokens[:, 0]].copy()
        following = self._next(tokens[:, :-1], lengths)
        for place in range(1, self._per_move):
            total += following[rows, place - 1, tokens[:, place]]
        return total

    def _next(self, tokens, lengths):
        """Log probabilities `(n, per_move - 1, vocabulary)` after each token but the last."""
        found = []
        for start in range(0, len(tokens), _LARGEST_BATCH):
            part = slice(start, start + _LARGEST_BATCH)
            size = len(tokens[part])
            padded = max(_SMALLEST_BATCH, 1 << (size - 1).bit_length())
            batch = np.ones((padded, self._per_move - 1), "int32"), np.ones(padded, "int32")
            batch[0][:size], batch[1][:size] = tokens[part], lengths[part]
            found.append(ops.convert_to_numpy(self._continue(*batch, self._cache))[:size])
        return np.concatenate(found)

    def _remember(self, token_ids):
        """Reads what of the history is not read yet."""
        weights = self.model.fingerprint()
        if self._weights is None or not np.array_equal(weights, self._weights):
            self._forget()
            self._weights = weights
        pairs = zip(self._known, token_ids, strict=False)
        common = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        if common is None:
            common = min(len(self._known), len(token_ids))
        if common == len(token_ids):
            return
        missing = len(token_ids) - common
        size = next((n for n in _READS if missing <= n < self.max_position), self.max_position)
        start = min(common, self.max_position - size)
        tokens = np.zeros((1, size), "int32")
        tokens[0, : len(token_ids) - start] = token_ids[start:]
        after, self._cache = self._read(tokens, np.array(start, "int32"), self._cache)
        self._after[start : start + size] = ops.convert_to_numpy(after)
        self._known = list(token_ids)


def _best(log_probabilities):
    """The most probable tokens; the padding is none."""
    return 1 + log_probabilities[..., 1:].argmax(axis=-1)
