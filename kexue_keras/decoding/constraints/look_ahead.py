"""A prefix tree that prefers what will still be found in a question."""

import numpy as np

from kexue_keras.metrics.subsequences import CommonSubsequence


class LookAhead:
    """A tree whose keys' later parts are re-weighted by what they share with the question.

    With the first part of a key written (up to `end_id`), let `gain` be how much longer the longest
    common subsequence with the question can become, at best, after a token. The token's probability
    p becomes `p ** (1 / (gain + 1))`; all are scaled to the mass they had together, so that without
    any gain nothing changes.

    Args:
        tree: a `PrefixTree`.
        question_ids: token ids of the question.
        end_id: id of the token that ends the parts of a key.

    Example:

    >>> from kexue_keras.decoding import PrefixTree
    >>> look = LookAhead(PrefixTree([[5, 3, 6, 3], [5, 3, 7, 3]]), [2, 7, 3], end_id=3)
    >>> np.exp(look.rescore((5, 3), np.array([6, 7]), np.log([0.4, 0.4]))).round(3).tolist()
    [0.31, 0.49]

    Reference: https://kexue.fm/archives/8802
    """

    def __init__(self, tree, question_ids, end_id):
        self.tree = tree
        self.end_id = end_id
        self._common = CommonSubsequence([i for i in question_ids if i != end_id])
        self._best = {}

    def next_tokens(self, prefix):
        """Ids that the tree allows after a prefix."""
        return self.tree.next_tokens(prefix)

    def rescore(self, prefix, tokens, log_probabilities):
        """Log probabilities of the allowed tokens, re-weighted."""
        if len(tokens) < 2 or self.end_id not in prefix:
            return log_probabilities
        state = self._common.extend(self._common.start, prefix)
        now = self._common.length(state)
        node = self.tree.root
        for token in prefix:
            node = int(self.tree.step([node], [token])[0])
        children = dict(zip(*(array.tolist() for array in self.tree.children(node)), strict=True))
        longest = [
            self._longest(children[t], self._common.extend(state, [t])) for t in tokens.tolist()
        ]
        gain = np.array(longest) - now
        rescored = log_probabilities / (gain + 1)
        return rescored + np.logaddexp.reduce(log_probabilities) - np.logaddexp.reduce(rescored)

    def _longest(self, node, state):
        """Longest common subsequence of the question and any key through this node."""
        if (node, state) not in self._best:
            tokens, nodes = self.tree.children(node)
            ways = [
                self._longest(n, self._common.extend(state, [t]))
                for t, n in zip(tokens.tolist(), nodes.tolist(), strict=True)
            ]
            self._best[node, state] = max(ways, default=self._common.length(state))
        return self._best[node, state]
