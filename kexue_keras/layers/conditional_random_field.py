"""Conditional random field: one softmax over all paths of labels."""

import keras
from keras import ops

from kexue_keras import backend
from kexue_keras.layers.label_paths import (
    LayerFunction,
    LayerWithLoss,
    best_path,
    label_accuracy,
    log_partition,
    mask_logits,
    one_hot,
    path_score,
    split_mask,
    visible_labels,
)


@keras.saving.register_keras_serializable(package="kexue_keras")
class ConditionalRandomField(LayerWithLoss):
    """Linear-chain CRF with bert4keras's interface: the last layer of a sequence labeller.

    `P(y) = exp(sum_k f(y_k) + sum_k g(y_{k-1}, y_k)) / Z`; f is the input, g the trainable `trans`,
    and Z sums over all paths. The layer passes f on, with masked positions marked; the loss is
    `-log P` of the gold path.

        crf = ConditionalRandomField(lr_multiplier=100)
        model = keras.Model(inputs, crf(dense(hidden)))
        model.compile("adam", loss=crf.sparse_loss, metrics=[crf.sparse_accuracy])
        labels = crf.decode(model.predict(x))

    A model compiled with these functions is saved and reloaded like any other.

    Args:
        lr_multiplier: learns the transitions this many times as fast as the other weights (by
            keeping them divided by it): they need it beside a pretrained encoder.
        key: identity of the layer in a saved model.

    Attributes:
        trans: `(labels, labels)`; row: from, column: to.
        sparse_loss, dense_loss: functions of `(y_true, y_pred)`, float32 `(batch,)`, nats. y_true
            is int `(batch, length)` or one-hot; y_pred the layer's output.
        sparse_accuracy, dense_accuracy: share of visible positions whose largest logit is the
            label's, a scalar; transitions are left out, as in bert4keras. `decode` is exact.

    Input and output shape: `(batch, length, labels)`; the output is float32.

    Masking: a mask hides positions on the right, by its marks in the output; it goes no further.
    The first position always counts.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> crf = layers.ConditionalRandomField()
    >>> logits = crf(np.array([[[0.0, 5.0], [5.0, 0.0]]], "float32"))
    >>> crf.decode(logits).tolist()
    [[1, 0]]

    Reference: https://kexue.fm/archives/7213; Lafferty et al. 2001.
    """

    def __init__(self, lr_multiplier=1, key=None, **kwargs):
        super().__init__(key, **kwargs)
        if not lr_multiplier > 0:
            raise ValueError(f"`lr_multiplier` must be positive. Received: {lr_multiplier}")
        self.supports_masking = True
        self.lr_multiplier = lr_multiplier
        for name in ("sparse_loss", "dense_loss", "sparse_accuracy", "dense_accuracy"):
            setattr(self, name, LayerFunction(self.key, f"_{name}", self))
        self._decode = None

    def build(self, input_shape):
        self.labels = input_shape[-1]
        self._trans = self.add_weight(
            shape=(self.labels, self.labels), initializer="zeros", name="trans"
        )

    @property
    def trans(self):
        return ops.cast(self._trans, "float32") * self.lr_multiplier

    def call(self, inputs, mask=None):
        return mask_logits(inputs, mask)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor(inputs.shape, dtype="float32")

    def decode(self, logits, mask=None):
        """The most probable labels of every sample, by Viterbi's algorithm, compiled.

        Args:
            logits: the layer's output, `(batch, length, labels)`.
            mask: bool `(batch, length)`, if the logits are not masked yet.

        Returns:
            NumPy int32 `(batch, length)`; 0 at masked positions.
        """
        if self._decode is None:
            self._decode = backend.jit(self._best, [self._trans])
        logits = mask_logits(logits, mask)
        return ops.convert_to_numpy(self._decode(logits))

    def _best(self, logits):
        mask, logits = split_mask(logits)
        trans = self.trans
        inputs = (ops.swapaxes(logits[:, 1:], 0, 1),)
        return best_path(logits[:, 0], lambda f: trans[None] + f[:, None, :], inputs, mask)

    def _sparse_loss(self, y_true, y_pred):
        return self._loss(y_pred, lambda mask: one_hot(y_true, mask, self.labels))

    def _dense_loss(self, y_true, y_pred):
        return self._loss(y_pred, lambda mask: visible_labels(y_true, mask))

    def _loss(self, y_pred, labels_of):
        mask, logits = split_mask(y_pred)
        score = path_score(logits, mask, self.trans, labels_of(mask))
        return log_partition(logits, mask, self.trans) - score

    def _sparse_accuracy(self, y_true, y_pred):
        mask, logits = split_mask(y_pred)
        return label_accuracy(one_hot(y_true, mask, self.labels), logits, mask)

    def _dense_accuracy(self, y_true, y_pred):
        mask, logits = split_mask(y_pred)
        return label_accuracy(visible_labels(y_true, mask), logits, mask)

    def get_config(self):
        return {**super().get_config(), "lr_multiplier": self.lr_multiplier}
