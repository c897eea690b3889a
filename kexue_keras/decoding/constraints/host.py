"""Limits a beam search to what a Python object allows, one step at a time."""

import numpy as np
from keras import ops

from kexue_keras.ops import LOWEST


class HostConstraint:
    """What each hypothesis of a step may be continued with, worked out in Python.

    The general way: any object with `next_tokens(prefix)`. It may also have
    `rescore(prefix, tokens, log_probabilities)`, which returns new log probabilities of the allowed
    tokens (`-inf` forbids one).

    Args:
        rules: one such object, or a list with one per sample.
    """

    def __init__(self, rules, samples):
        if isinstance(rules, list | tuple):
            if len(rules) != samples:
                raise ValueError(
                    f"`constraint` must be one object or a list of {samples}, one per sample. "
                    f"Received: {len(rules)}"
                )
            self.rules = list(rules)
        else:
            self.rules = [rules] * samples
        for rule in self.rules:
            if not callable(getattr(rule, "next_tokens", None)):
                raise ValueError(
                    f"`constraint` must have a method `next_tokens`. Received: {rule!r}"
                )

    def choices(self, logits, tokens, scores, length, end_id, topk):
        """The logits and tokens that each living hypothesis may choose from.

        Args:
            logits: float32 array `(batch, rows, vocabulary)`.
            tokens: int array `(batch, rows, maxlen)`, of which `length` are there.
            scores: `(batch, rows)`; hypotheses at `LOWEST` are passed over.
            end_id: the token that ends a text.
            topk: number of beams.

        Returns:
            The logits and tokens `(batch, rows, topk + 1)` of the best choices, and the logits
            `(batch, rows)` of `end_id`; `LOWEST` where there is nothing to choose. The log of the
            summed exponentials of all allowed logits `(batch, rows)`, 0 where there are none.
        """
        batch, rows, vocabulary = logits.shape
        values = np.full((batch, rows, topk + 1), LOWEST, "float32")
        choices = np.zeros((batch, rows, topk + 1), "int32")
        ending = np.full((batch, rows), LOWEST, "float32")
        together = np.zeros((batch, rows), "float32")
        for sample, rule in enumerate(self.rules):
            for row in np.flatnonzero(scores[sample] > LOWEST / 2):
                prefix = tuple(tokens[sample, row, :length].tolist())
                allowed = np.asarray(rule.next_tokens(prefix), "int64").reshape(-1)
                _, places = np.unique(allowed, return_index=True)
                allowed = allowed[np.sort(places)]  # each once, in the order given
                if not allowed.size:
                    continue
                if not 0 <= allowed.min() <= allowed.max() < vocabulary:
                    raise ValueError(
                        f"`constraint.next_tokens` must return ids below {vocabulary}. "
                        f"Received: {allowed.min()} to {allowed.max()}"
                    )
                found = _rescored(rule, prefix, allowed, logits[sample, row])
                best = np.argsort(-found, kind="stable")[: topk + 1]
                values[sample, row, : len(best)] = found[best]
                choices[sample, row, : len(best)] = allowed[best]
                if found.max() > LOWEST / 2:
                    together[sample, row] = np.logaddexp.reduce(found)
                if end_id in allowed:
                    ending[sample, row] = found[allowed == end_id][0]
        return values, choices, ending, together


def _rescored(rule, prefix, allowed, logits):
    if not hasattr(rule, "rescore"):
        return logits[allowed]
    top = logits.max()
    normalizer = top + np.log(np.exp(logits - top).sum())
    rescored = np.asarray(rule.rescore(prefix, allowed, logits[allowed] - normalizer), "float64")
    if rescored.shape != allowed.shape or np.isnan(rescored).any():
        raise ValueError(
            f"`constraint.rescore` must return {len(allowed)} log probabilities. "
            f"Received: {rescored}"
        )
    return np.maximum(rescored + normalizer, LOWEST)


class Choices:
    """The choices of one step, as the compiled step takes them.

    Args:
        values, tokens, ending, together: what `HostConstraint.choices` returns, as tensors.
    """

    def __init__(self, values=None, tokens=None, ending=None, together=None):
        self.values, self.tokens, self.ends, self.together = values, tokens, ending, together

    def start(self, batch):
        """States that say nothing."""
        return ops.zeros((batch, 1), "int32")

    def candidates(self, logits, states, topk):
        """All choices of every hypothesis."""
        return self.values, self.tokens, self.together

    def ending(self, logits, states, end_id):
        """The logits of the end."""
        return self.ends

    def advance(self, states, tokens):
        """Nothing: the object on the host knows the prefixes."""
        return states
