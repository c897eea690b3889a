"""Best and summed paths through a lattice of labels, batched; and losses that belong to a layer."""

import secrets
import weakref

import keras
from keras import ops

NEVER = -1e30

_LAYERS = weakref.WeakValueDictionary()


def mask_logits(logits, mask):
    """Logits `(batch, length, labels)` in float32, `NEVER` where the mask is False.

    The first position always counts.
    """
    logits = ops.cast(logits, "float32")
    if mask is None:
        return logits
    first = ops.arange(ops.shape(logits)[1]) == 0
    visible = ops.logical_or(ops.cast(mask, "bool"), first)
    return ops.where(visible[..., None], logits, NEVER)


def split_mask(logits):
    """Of masked logits the mask `(batch, length)`, and the logits with 0 where it is False."""
    logits = ops.cast(logits, "float32")
    mask = ops.any(logits > NEVER / 2, axis=-1)
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

    def step(alpha, inputs):
        scores, visible = inputs
        following = ops.logsumexp(alpha[:, :, None] + transitions, axis=1) + scores
        return ops.where(visible[:, None], following, alpha), None

    alpha, _ = ops.scan(step, logits[:, 0], (_time_first(logits), _time_first(mask)))
    return ops.logsumexp(alpha, axis=-1)


def best_path(first, pair_scores, inputs, mask):
    """The path of the largest score, int32 `(batch, length)`, 0 where the mask is False.

    Args:
        first: scores of the first label, `(batch, labels)`.
        pair_scores: callable; of a slice of `inputs`, the scores `(batch or 1, labels, labels)` of
            going from one label to the next.
        inputs: tuple of arrays `(length - 1, batch, ...)`.
        mask: bool `(batch, length)`, False on the right.
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
    last = ops.cast(ops.argmax(best, axis=-1), "float32")
    start, path = ops.scan(backward, last, came_from, reverse=True)
    path = ops.concatenate([start[:, None], ops.transpose(path)], axis=1)
    return ops.where(mask, ops.cast(path, "int32"), 0)


def path_score(logits, mask, transitions, labels):
    """Summed scores of one path a sample, `(batch,)`; labels one-hot `(batch, length, labels)`."""
    visible = ops.cast(mask, "float32")
    at_labels = ops.sum(logits * labels, axis=(1, 2))
    pairs = ops.sum(ops.matmul(labels[:, :-1], transitions) * labels[:, 1:], axis=-1)
    return at_labels + ops.sum(pairs * visible[:, 1:], axis=1)


def one_hot(labels, mask, size):
    """Labels `(batch, length)` or `(batch, length, 1)`, any dtype; all 0 where masked."""
    labels = ops.cast(labels, "int32")
    if len(labels.shape) == 3:
        labels = ops.squeeze(labels, axis=-1)
    return ops.one_hot(labels, size, dtype="float32") * ops.cast(mask, "float32")[..., None]


def visible_labels(labels, mask):
    """One-hot labels in float32, all 0 where masked."""
    return ops.cast(labels, "float32") * ops.cast(mask, "float32")[..., None]


def label_accuracy(labels, logits, mask):
    """Share of visible positions whose largest logit is the label's."""
    right = ops.take_along_axis(labels, ops.argmax(logits, axis=-1)[..., None], axis=-1)
    return ops.sum(right) / ops.maximum(ops.sum(ops.cast(mask, "float32")), 1.0)


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
