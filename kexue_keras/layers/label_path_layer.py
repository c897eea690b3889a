"""What the layers that label a sequence have in common."""

import keras
import numpy as np
from keras import ops

from kexue_keras import backend
from kexue_keras.layers.label_lattice import has_gap, mask_logits, only_visible, split_mask
from kexue_keras.layers.layer_function import LayerFunction
from kexue_keras.layers.layer_with_loss import LayerWithLoss
from kexue_keras.ops import LOWEST


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
            logits = ops.pad(logits, ((0, 0), (0, 1), (0, 0)), constant_values=LOWEST)
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
        return self._most_probable(logits, mask, starts, ends), has_gap(mask)

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
        loss = self._negative_log_likelihood(only_visible(labels, mask), logits, mask)
        return ops.where(has_gap(mask), float("nan"), loss)

    def _accuracy(self, labels, y_pred):
        mask, logits = split_mask(y_pred)
        places = ops.argmax(logits, axis=-1)[..., None]
        right = ops.sum(ops.take_along_axis(only_visible(labels, mask), places, axis=-1))
        return right / ops.maximum(ops.sum(ops.cast(mask, "float32")), 1.0)

    def get_config(self):
        return {**super().get_config(), "lr_multiplier": self.lr_multiplier}


def _allowed(name, labels, count):
    """Scores `(count,)`: 0 for the labels, all of them if None, and `LOWEST` for the others."""
    if labels is None:
        return np.zeros(count, "float32")
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or not np.isin(labels, np.arange(count)).all():
        raise ValueError(f"`{name}` must be ids of labels below {count}. Received: {labels}")
    return np.where(np.isin(np.arange(count), labels), 0, LOWEST).astype("float32")
