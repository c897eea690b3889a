"""bert4keras's decoder: write `predict`, get beam search and random sampling."""

import functools
from collections.abc import Callable

import keras
import numpy as np


class AutoRegressiveDecoder:
    """Decodes with any `predict`, on NumPy arrays, one sample at a time; bert4keras's interface.

    Subclasses write `predict(self, inputs, output_ids, states)` under the decorator `wraps`.
    `Generator` is much faster for the transformers of this package; this class fits every model.

    It differs from bert4keras where bert4keras errs: finished hypotheses go to a pool and are never
    lost, `topk` hypotheses stay alive beside them, and the search ends when nothing alive can win.
    Tokens of probability 0 are never chosen. Before `minlen`, the `end_id` that would end a text is
    not chosen.

    Args:
        start_id: id of the token every text begins with, part of the result; None for no such.
        end_id: id of the token that ends a text, part of the result.
        maxlen: largest number of generated tokens.
        minlen: smallest length of a finished text, `start_id` included.
        early_ends: whether `end_id` may stand inside a text before `minlen`, as in bert4keras,
            without ending it: with a full stop as `end_id` and `minlen` 128, texts of several
            sentences come out. False: it is not chosen there.

    Example:

    >>> import numpy as np
    >>> class Decoder(AutoRegressiveDecoder):
    ...     @AutoRegressiveDecoder.wraps(default_rtype="probas")
    ...     def predict(self, inputs, output_ids, states):
    ...         return np.array([[0.1, 0.2, 0.7]] * len(output_ids))
    >>> Decoder(start_id=None, end_id=2, maxlen=4).beam_search([np.array([5, 6])], topk=2).tolist()
    [2]

    Reference: https://kexue.fm/archives/6933
    """

    def __init__(
        self,
        start_id: int | None,
        end_id: int,
        maxlen: int,
        minlen: int = 1,
        early_ends: bool = False,
    ):
        _at_least_one(maxlen=maxlen)
        self.start_id = start_id
        self.end_id = end_id
        self.maxlen = maxlen
        self.minlen = minlen
        self.early_ends = early_ends
        self.models = {}
        first = [] if start_id is None else [start_id]
        self.first_output_ids = np.array([first], dtype=int)

    @staticmethod
    def wraps(default_rtype: str = "probas", use_states: bool = False) -> Callable:
        """Decorator of `predict`: adds the arguments `temperature` and `rtype`.

        The written method gets `inputs`, arrays with one row per hypothesis, `output_ids`, int
        `(hypotheses, length)`, and `states`. It returns scores of the next token, float
        `(hypotheses, vocabulary)`.

        Args:
            default_rtype: what the written method returns: "probas" (probabilities) or "logits".
            use_states: whether it returns `(scores, states)`. Arrays in `states` (also nested) with
                one row per hypothesis follow their hypotheses; the rest is passed on as it is.

        Returns:
            A decorator. The decorated method returns `(scores, states)`: probabilities, or their
            logarithms if called with `rtype="logits"`. As in bert4keras, probabilities are
            normalised only with a temperature other than 1; they must sum to 1 or less.
        """
        if default_rtype not in ("probas", "logits"):
            raise ValueError(
                f'`default_rtype` must be "probas" or "logits". Received: {default_rtype!r}'
            )

        def decorate(predict):
            @functools.wraps(predict)
            def decorated(self, inputs, output_ids, states, temperature=1, rtype=default_rtype):
                if rtype not in ("probas", "logits"):
                    raise ValueError(f'`rtype` must be "probas" or "logits". Received: {rtype!r}')
                scores = predict(self, inputs, output_ids, states)
                scores, states = scores if use_states else (scores, None)
                scores = np.asarray(scores, "float64")
                if default_rtype == "probas":
                    scores = _log(scores)
                # probabilities that do not sum to 1 stay so, as in bert4keras: what a constraint
                # forbids is held against the hypothesis
                if default_rtype == "logits" or temperature != 1:
                    scores = _log_softmax(scores / temperature)
                return (scores if rtype == "logits" else np.exp(scores)), states

            return decorated

        return decorate

    def last_token(self, model: keras.Model) -> keras.Model:
        """A model, kept for the next call, that returns the outputs at the last position only."""
        if model not in self.models:
            last = [output[:, -1] for output in model.outputs]
            self.models[model] = keras.Model(model.inputs, last[0] if len(last) == 1 else last)
        return self.models[model]

    def beam_search(
        self, inputs: list, topk: int, states=None, temperature: float = 1, min_ends: int = 1
    ) -> np.ndarray:
        """Searches the most probable text.

        Args:
            inputs: the arrays of one sample, without batch axis.
            topk: number of hypotheses that stay alive. 1 is greedy search.
            states: what `predict` gets first.
            temperature: divides the logits.
            min_ends: how many `end_id` end a text.

        Returns:
            The ids of the best finished text, int `(length,)`; without any, the best of length
            `maxlen`.
        """
        _at_least_one(topk=topk, min_ends=min_ends)
        _positive(temperature=temperature)
        inputs = [np.array([i]) for i in inputs]
        alive, totals = self.first_output_ids, np.zeros(1)
        best, best_total = None, -np.inf
        for _ in range(self.maxlen):
            scores, states = self.predict(inputs, alive, states, temperature, "logits")
            scores = self._without_early_end(scores, alive, min_ends)
            candidates = totals[:, None] + scores
            ending = np.zeros(candidates.shape, bool)
            ending[:, self.end_id] = self._may_end(alive, min_ends)
            order = np.argsort(-candidates, axis=None, kind="stable")
            order = order[np.isfinite(candidates.ravel()[order])]
            is_end = ending.ravel()[order]
            for place in order[:topk][is_end[:topk]][:1]:
                if candidates.ravel()[place] > best_total:
                    best_total = candidates.ravel()[place]
                    parent = place // candidates.shape[1]
                    best = np.append(alive[parent], self.end_id)
            chosen = order[~is_end][:topk]
            if not len(chosen) or candidates.ravel()[chosen[0]] <= best_total:
                break
            parents, tokens = np.unravel_index(chosen, candidates.shape)
            inputs, states = _follow((inputs, states), parents, len(alive))
            alive = np.concatenate([alive[parents], tokens[:, None]], axis=1)
            totals = candidates[parents, tokens]
        return alive[0] if best is None else best

    def random_sample(
        self,
        inputs: list,
        n: int,
        topk: int | None = None,
        topp: float | None = None,
        states=None,
        temperature: float = 1,
        min_ends: int = 1,
        seed: int | None = None,
        consistent: bool = False,
    ) -> list[np.ndarray]:
        """Samples `n` texts.

        Args:
            inputs, states, temperature, min_ends: as for `beam_search`.
            n: number of texts.
            topk: None, or how many of the most probable tokens to choose from.
            topp: None, or the total probability of the most probable tokens to choose from, applied
                to what `topk` left; the token that crosses it is kept.
            seed: None for NumPy's global generator.
            consistent: whether `end_id` always stays among the tokens to choose from, so that no
                text goes on for ever (https://kexue.fm/archives/7500).

        Returns:
            `n` arrays of ids, int `(length,)`.

        Raises:
            ValueError: an argument is out of range, or `predict` left no token to choose.
        """
        _at_least_one(n=n, topk=1 if topk is None else topk, min_ends=min_ends)
        _positive(temperature=temperature, topp=1 if topp is None else topp)
        random = np.random if seed is None else np.random.default_rng(seed)
        inputs = [np.array([i]) for i in inputs]
        end = self.end_id if consistent else None
        alive, results, places = self.first_output_ids, [None] * n, np.arange(n)
        for step in range(self.maxlen):
            scores, states = self.predict(inputs, alive, states, temperature, "logits")
            probas = np.exp(self._without_early_end(scores, alive, min_ends))
            if not (probas.sum(axis=1) > 0).all():
                raise ValueError(
                    f"`predict` must leave a token of positive probability. Received: none after "
                    f"{step} tokens (the end does not count before `minlen`)"
                )
            if step == 0:
                repeat = np.zeros(n, int)
                inputs, states = _follow((inputs, states), repeat, 1)
                probas, alive = probas[repeat], alive[repeat]
            chosen = _choose(probas, topk, topp, random.random(len(alive)), end)
            over = (chosen == self.end_id) & self._may_end(alive, min_ends)
            alive = np.concatenate([alive, chosen[:, None]], axis=1)
            for place, ids in zip(places, alive, strict=True):
                results[place] = ids
            if over.all():
                break
            kept = np.flatnonzero(~over)
            inputs, states = _follow((inputs, states), kept, len(alive))
            alive, places = alive[kept], places[kept]
        return results

    def _ends(self, ids: np.ndarray) -> np.ndarray:
        """How many `end_id` each text has, the first token not counted if it is `start_id`."""
        return (ids[:, self.first_output_ids.shape[1] :] == self.end_id).sum(axis=1)

    def _may_end(self, alive, min_ends):
        """Whether each text is over if `end_id` comes next."""
        long_enough = alive.shape[1] + 1 >= self.minlen or not self.early_ends
        return (self._ends(alive) + 1 >= min_ends) & long_enough

    def _without_early_end(self, scores, alive, min_ends):
        if self.early_ends or alive.shape[1] + 1 >= self.minlen:
            return scores
        scores = scores.copy()
        scores[self._ends(alive) + 1 >= min_ends, self.end_id] = -np.inf
        return scores


def _choose(probas, topk, topp, uniform, end=None):
    """A token for every row of `probas`, by inverting the cumulated truncated probabilities.

    The token `end`, if any, is never cut off.
    """
    order = np.argsort(-probas, axis=1, kind="stable")[:, :topk]
    of_end = None if end is None else probas[:, [end]]
    probas = np.take_along_axis(probas, order, axis=1)
    totals = probas.cumsum(axis=1)
    if topp is not None:
        probas = np.where(totals - probas < topp * totals[:, -1:], probas, 0)
    if end is not None:
        # first, for the sum up to it is then exact however small it is
        probas = np.concatenate([of_end, np.where(order == end, 0, probas)], axis=1)
        order = np.concatenate([np.full_like(order[:, :1], end), order], axis=1)
    totals = probas.cumsum(axis=1)
    crossed = (totals > uniform[:, None] * totals[:, -1:]) & (probas > 0)
    return np.take_along_axis(order, crossed.argmax(axis=1)[:, None], axis=1)[:, 0]


def _follow(structure, rows, count):
    """Takes the given rows of every array in a nested structure that has `count` rows."""

    def take(x):
        shape = getattr(x, "shape", ())
        if len(shape) and shape[0] == count:
            return np.asarray(x)[rows]
        return x

    return keras.tree.map_structure(take, structure)


def _log(probas):
    with np.errstate(divide="ignore"):
        return np.log(probas)


def _log_softmax(scores):
    scores = scores - scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def _at_least_one(**arguments):
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {value}")


def _positive(**arguments):
    for name, value in arguments.items():
        if not value > 0:
            raise ValueError(f"`{name}` must be positive. Received: {value}")
