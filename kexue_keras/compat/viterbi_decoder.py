"""The best path of labels, in NumPy: nothing is compiled anew for a sentence of another length."""

import numpy as np


class ViterbiDecoder:
    """Finds the path of labels with the largest sum of scores and transitions.

    `ConditionalRandomField.decode` does so for a whole batch.

    Args:
        trans: `(labels, labels)`; row: from, column: to.
        starts, ends: labels that may come first and last; None: all.

    Example:

    >>> ViterbiDecoder(np.array([[0.0, -9.0], [0.0, 0.0]])).decode(np.array([[2.0, 0], [0, 3]]))
    array([1, 1])
    """

    def __init__(self, trans, starts=None, ends=None):
        self.trans = trans
        self.num_labels = len(trans)
        every = range(self.num_labels)
        self.non_starts = [] if starts is None else [i for i in every if i not in starts]
        self.non_ends = [] if ends is None else [i for i in every if i not in ends]

    def decode(self, nodes):
        """The path, int `(length,)`.

        Args:
            nodes: scores `(length, labels)`.
        """
        nodes = np.array(nodes, "float64")
        nodes[0, self.non_starts] = -np.inf
        nodes[-1, self.non_ends] = -np.inf
        best, origins = nodes[0], []
        for scores in nodes[1:]:
            through = best[:, None] + self.trans
            origins.append(through.argmax(axis=0))
            best = through.max(axis=0) + scores
        path = [int(best.argmax())]
        for origin in reversed(origins):
            path.append(int(origin[path[-1]]))
        return np.array(path[::-1])
