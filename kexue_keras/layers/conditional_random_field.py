"""Conditional random field: one softmax over all paths of labels."""

import keras
from keras import ops

from kexue_keras import backend
from kexue_keras.layers.label_lattice import (
    best_path,
    finite,
    log_partition,
    path_score,
)
from kexue_keras.layers.label_path_layer import LabelPathLayer


@keras.saving.register_keras_serializable(package="kexue_keras")
class ConditionalRandomField(LabelPathLayer):
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
            is int `(batch, length)` or one-hot; y_pred the layer's output. NaN if a visible
            position has a number that is no label, or a mask hides positions before visible ones.
        sparse_accuracy, dense_accuracy: share of visible positions whose largest logit is the
            label's, a scalar of the batch; transitions are left out, as in bert4keras. `decode` is
            exact.

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
        super().__init__(lr_multiplier, key=key, **kwargs)
        self.supports_jit = backend.loops_train_with_xla()

    def build(self, input_shape):
        labels = input_shape[-1]
        self._factors = [self.add_weight(shape=(labels, labels), initializer="zeros", name="trans")]

    @property
    def trans(self):
        return finite(ops.cast(self._factors[0], "float32") * self.lr_multiplier)

    def _negative_log_likelihood(self, labels, logits, mask):
        trans = self.trans
        return log_partition(logits, mask, trans) - path_score(logits, mask, trans, labels)

    def _most_probable(self, logits, mask, starts, ends):
        trans = self.trans
        inputs = (ops.swapaxes(logits[:, 1:], 0, 1),)
        first = logits[:, 0] + starts
        return best_path(first, lambda f: trans[None] + f[:, None, :], inputs, mask, ends)
