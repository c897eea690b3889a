"""Best and summed paths through a lattice of labels, batched; and losses that belong to a layer."""

import secrets
import weakref

import keras
import numpy as np
from keras import ops

from kexue_keras import backend

NEVER = -1e30
_WIDEST = 60.0  # exp(-60) times a sum of few terms is still a float32 with all its digits

_LAYERS = weakref.WeakValueDictionary()


def finite(x):
    """In float32, with `NEVER` in place of -inf, which would be NaN in a product with 0."""
    return ops.maximum(ops.cast(x, "float32"), NEVER)


def mask_logits(logits, mask):
    """Logits `(batch, length, labels)` in float32, `NEVER` where the mask is False.

    -inf becomes `NEVER` too. The first position always counts.
    """
    logits = finite(logits)
    if mask is None:
        return logits
    first = ops.arange(ops.shape(logits)[1]) == 0
    visible = ops.logical_or(ops.cast(mask, "bool"), first)
    return ops.where(visible[..., None], logits, NEVER)


def split_mask(logits):
    """Of masked logits the mask `(batch, length)`, and the logits with 0 where it is False."""
    logits = finite(logits)
    # a position of NaN is not masked: the loss is to show it
    mask = ops.logical_not(ops.all(logits <= NEVER / 2, axis=-1))
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


def _time_first(x):
    """`(batch, length, ...)` without its first position -> `(length - 1, batch, ...)`."""
    return ops.swapaxes(x[:, 1:], 0, 1)


class LayerWithLoss(keras.layers.Layer):
    """A layer whose own methods are losses and metrics of the model it is in.

    A saved model names the layer's `key`, by which the reloaded loss finds the reloaded layer.
    """

    def __init__(self, key=None, **kwargs):
        super().__init__(**kwargs)
        self.key = key or secrets.token_hex(8)
        _LAYERS[self.key] = self

    def get_config(self):
        return {**super().get_config(), "key": self.key}


@keras.saving.register_keras_serializable(package="kexue_keras")
class LayerFunction:
    """A method of a `LayerWithLoss` as a function that a compiled model can save.

    Args:
        key: the layer's.
        method: the name of the method.
        layer: the layer itself; by default the one last made with this key.
    """

    def __init__(self, key, method, layer=None):
        if layer is None and key not in _LAYERS:
            raise ValueError(f"`key` must be that of a layer of the model. Received: {key!r}")
        self.layer = _LAYERS[key] if layer is None else layer
        self.method = method
        self.__name__ = method.strip("_")

    def __call__(self, y_true, y_pred):
        return getattr(self.layer, self.method)(y_true, y_pred)

    def get_config(self):
        return {"key": self.layer.key, "method": self.method}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class LabelPathLayer(LayerWithLoss):
    """What a CRF and a MEMM have in common: they differ in `build`, `trans` and two methods.

    A subclass keeps its weights in `_factors`, and defines `_negative_log_likelihood(labels,
    logits, mask)`, `(batch,)`, of one-hot labels that are all 0 where masked, and
    `_most_probable(logits, mask, starts, ends)`, int32 `(batch, length)`, of scores `(labels,)` for
    the first and the last label.
    """

    def __init__(self, lr_multiplier=1, key=None, **kwargs):
        super().__init__(key, **kwargs)
        self.autocast = False  # half precision would round, or lose, scores in float32
        if not lr_multiplier > 0:
            raise ValueError(f"`lr_multiplier` must be positive. Received: {lr_multiplier}")
        self.supports_masking = True
        self.lr_multiplier = lr_multiplier
        for name in ("sparse_loss", "dense_loss", "sparse_accuracy", "dense_accuracy"):
            setattr(self, name, LayerFunction(self.key, f"_{name}", self))
        self._decode = None

    def call(self, inputs, mask=None):
        return mask_logits(inputs, mask)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor(inputs.shape, dtype="float32")

    def decode(self, logits, mask=None, starts=None, ends=None):
        """The most probable labels of every sample, by Viterbi's algorithm, compiled.

        Args:
            logits: the layer's output, `(batch, length, labels)`.
            mask: bool `(batch, length)`, if the logits are not masked yet.
            starts: ids of the labels that a sample may begin with (an inside label cannot be the
                first of a sentence); None: all.
            ends: ids of the labels that it may end with; None: all.

        Returns:
            NumPy int32 `(batch, length)`; 0 at masked positions.

        Raises:
            ValueError: the layer has no transitions yet, a mask hides positions before visible
                ones, or `starts` or `ends` hold something else than ids of labels.
        """
        self._check_built()
        if self._decode is None:
            self._decode = backend.jit(self._best, self._factors)
        logits = mask_logits(logits, mask)
        starts = _allowed("starts", starts, logits.shape[-1])
        ends = _allowed("ends", ends, logits.shape[-1])
        length = logits.shape[1]
        if length == 1:
            # a hidden position more, for XLA has no loop of no steps on TensorFlow
            logits = ops.pad(logits, ((0, 0), (0, 1), (0, 0)), constant_values=NEVER)
        path, gaps = (ops.convert_to_numpy(x) for x in self._decode(logits, starts, ends))
        if gaps.any():
            raise ValueError(
                "`mask` must hide positions on the right only. Received: hidden positions before "
                f"visible ones in sample {int(gaps.argmax())}"
            )
        return path[:, :length]

    def _check_built(self):
        if not self.built:
            raise ValueError(f"`{self.name}` has no transitions yet; call it first")

    def _best(self, logits, starts, ends):
        """The paths, and which samples' masks have a gap."""
        mask, logits = split_mask(logits)
        return self._most_probable(logits, mask, starts, ends), _has_gap(mask)

    def _sparse_loss(self, y_true, y_pred):
        return self._loss(self._one_hot(y_true, y_pred), y_pred)

    def _dense_loss(self, y_true, y_pred):
        return self._loss(y_true, y_pred)

    def _sparse_accuracy(self, y_true, y_pred):
        return self._accuracy(self._one_hot(y_true, y_pred), y_pred)

    def _dense_accuracy(self, y_true, y_pred):
        return self._accuracy(y_true, y_pred)

    def _one_hot(self, y_true, y_pred):
        """Of labels `(batch, length)` or `(batch, length, 1)`, of any dtype."""
        y_true = ops.cast(y_true, "int32")
        if len(y_true.shape) == 3:
            y_true = ops.squeeze(y_true, axis=-1)
        classes = y_pred.shape[-1]
        is_label = ops.logical_and(y_true >= 0, y_true < classes)[..., None]
        return ops.where(is_label, ops.one_hot(y_true, classes, dtype="float32"), float("nan"))

    def _loss(self, labels, y_pred):
        self._check_built()
        mask, logits = split_mask(y_pred)
        loss = self._negative_log_likelihood(_visible(labels, mask), logits, mask)
        return ops.where(_has_gap(mask), float("nan"), loss)

    def _accuracy(self, labels, y_pred):
        mask, logits = split_mask(y_pred)
        places = ops.argmax(logits, axis=-1)[..., None]
        right = ops.sum(ops.take_along_axis(_visible(labels, mask), places, axis=-1))
        return right / ops.maximum(ops.sum(ops.cast(mask, "float32")), 1.0)

    def get_config(self):
        return {**super().get_config(), "lr_multiplier": self.lr_multiplier}


def _visible(labels, mask):
    """One-hot labels in float32, all 0 where masked."""
    return ops.where(mask[..., None], ops.cast(labels, "float32"), 0.0)


def _has_gap(mask):
    """Whether a sample has a hidden position before a visible one, `(batch,)`."""
    return ops.any(ops.logical_and(mask[:, 1:], ops.logical_not(mask[:, :-1])), axis=1)


def _allowed(name, labels, count):
    """Scores `(count,)`: 0 for the labels, all of them if None, and `NEVER` for the others."""
    if labels is None:
        return np.zeros(count, "float32")
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or not np.isin(labels, np.arange(count)).all():
        raise ValueError(f"`{name}` must be ids of labels below {count}. Received: {labels}")
    return np.where(np.isin(np.arange(count), labels), 0, NEVER).astype("float32")
