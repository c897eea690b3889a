"""Best and summed paths through a lattice of labels, batched.

Formulas. The score of a path of labels `y_1 ... y_n` is `sum_k f_k(y_k) + sum_k g(y_{k-1}, y_k)`.
"""

from keras import ops

from kexue_keras import backend
from kexue_keras.ops import LOWEST

_WIDEST = 60.0  # exp(-60) times a sum of few terms is still a float32 with all its digits


def finite(x):
    """In float32, with `LOWEST` in place of -inf, which would be NaN in a product with 0."""
    return ops.maximum(ops.cast(x, "float32"), LOWEST)


def mask_logits(logits, mask):
    """Logits `(batch, length, labels)` in float32, `LOWEST` where the mask is False.

    -inf becomes `LOWEST` too. The first position always counts.
    """
    logits = finite(logits)
    if mask is None:
        return logits
    first = ops.arange(ops.shape(logits)[1]) == 0
    visible = ops.logical_or(ops.cast(mask, "bool"), first)
    return ops.where(visible[..., None], logits, LOWEST)


def split_mask(logits):
    """Of masked logits the mask `(batch, length)`, and the logits with 0 where it is False."""
    logits = finite(logits)
    # a position of NaN is not masked: the loss is to show it
    mask = ops.logical_not(ops.all(logits <= LOWEST / 2, axis=-1))
    return mask, ops.where(mask[..., None], logits, 0.0)


def log_partition(logits, mask, transitions):
    """Log of the summed exponentials of all paths' scores, `(batch,)`.

    Formulas. `alpha_1 = f_1`, `alpha_k(j) = f_k(j) + log sum_i exp(alpha_{k-1}(i) + g(i, j))`, and
    the result is `log sum_j exp(alpha_n(j))`.

    Args:
        logits: f, float32 `(batch, length, labels)`.
        mask: bool `(batch, length)`, False on the right.
        transitions: g, `(labels, labels)`.
    """
    # one array, for TensorFlow's `scan` knows no other where the length is not known beforehand
    inputs = ops.concatenate([logits, ops.cast(mask, "float32")[..., None]], axis=-1)
    top = ops.stop_gradient(ops.max(transitions, axis=0, keepdims=True))

    def summed(add):
        def step(alpha, inputs):
            scores, visible = inputs[:, :-1], inputs[:, -1:] > 0
            return ops.where(visible, add(alpha) + scores, alpha), None

        alpha, _ = ops.scan(step, logits[:, 0], _time_first(inputs))
        return ops.logsumexp(alpha, axis=-1)

    def by_products():
        """`log sum_i exp(a_i) exp(g_ij)`: exact if the largest `a_i` counts for every j."""
        factors = ops.exp(transitions - top)

        def add(alpha):
            largest = ops.stop_gradient(ops.max(alpha, axis=1, keepdims=True))
            return ops.log(ops.matmul(ops.exp(alpha - largest), factors)) + (largest + top)

        return summed(add)

    def by_sums():
        return summed(lambda alpha: ops.logsumexp(alpha[:, :, None] + transitions, axis=1))

    if backend.on_accelerator():  # its products may have 10 bits, and save nothing there
        return by_sums()
    near = ops.all(transitions > top - _WIDEST)
    return ops.cond(near, by_products, by_sums)


def best_path(first, pair_scores, inputs, mask, ends=0.0):
    """The path of the largest score, int32 `(batch, length)`, 0 where the mask is False.

    Args:
        first: scores of the first label, `(batch, labels)`.
        pair_scores: callable; of a slice of `inputs`, the scores `(batch or 1, labels, labels)` of
            going from one label to the next.
        inputs: tuple of arrays `(length - 1, batch, ...)`.
        mask: bool `(batch, length)`, False on the right.
        ends: scores of the last label, `(labels,)`.
    """
    # labels are float32 in the loops: TensorFlow's `scan` wants one dtype for all it carries
    stay = ops.arange(first.shape[-1], dtype="float32")[None]

    def forward(best, inputs):
        *inputs, visible = inputs
        scores = best[:, :, None] + pair_scores(*inputs)
        came_from = ops.cast(ops.argmax(scores, axis=1), "float32")
        visible = visible[:, None]
        best = ops.where(visible, ops.max(scores, axis=1), best)
        return best, ops.where(visible, came_from, stay)

    def backward(label, came_from):
        where = ops.cast(label, "int32")[:, None]
        return ops.take_along_axis(came_from, where, axis=1)[:, 0], label

    best, came_from = ops.scan(forward, first, (*inputs, _time_first(mask)))
    last = ops.cast(ops.argmax(best + ends, axis=-1), "float32")
    start, path = ops.scan(backward, last, came_from, reverse=True)
    path = ops.concatenate([start[:, None], ops.transpose(path)], axis=1)
    return ops.where(mask, ops.cast(path, "int32"), 0)


def path_score(logits, mask, transitions, labels):
    """Summed scores of one path a sample, `(batch,)`; labels one-hot `(batch, length, labels)`."""
    visible = ops.cast(mask, "float32")
    at_labels = ops.sum(logits * labels, axis=(1, 2))
    pairs = ops.sum(ops.matmul(labels[:, :-1], transitions) * labels[:, 1:], axis=-1)
    return at_labels + ops.sum(pairs * visible[:, 1:], axis=1)


def stepwise_crossentropy(labels, logits):
    """Summed cross-entropies of all steps, `(batch,)`; labels one-hot, all 0 where masked."""
    visible = ops.sum(labels, axis=-1)
    costs = ops.logsumexp(logits, axis=-1) * visible - ops.sum(logits * labels, axis=-1)
    return ops.sum(costs, axis=1)


def only_visible(labels, mask):
    """One-hot labels in float32, all 0 where masked."""
    return ops.where(mask[..., None], ops.cast(labels, "float32"), 0.0)


def has_gap(mask):
    """Whether a sample has a hidden position before a visible one, `(batch,)`."""
    return ops.any(ops.logical_and(mask[:, 1:], ops.logical_not(mask[:, :-1])), axis=1)


def _time_first(x):
    """`(batch, length, ...)` without its first position -> `(length - 1, batch, ...)`."""
    return ops.swapaxes(x[:, 1:], 0, 1)
