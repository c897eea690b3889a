"""Cross-entropy of a Seq2Seq model, on the target tokens only."""

import keras
from keras import ops

from kexue_keras.ops import LOWEST


def sequence_crossentropy(token_ids, mask, logits):
    """Mean cross-entropy of predicting every masked token from the ones before it.

    Position t of `logits` predicts token t + 1: the logits are shifted by one against the tokens,
    and the mean runs over all tokens of the batch whose mask is set.

    Args:
        token_ids: int, `(batch, length)`.
        mask: `(batch, length)`, 1 or True where the token is to be predicted; for a UniLM the
            segment ids. The first column has no prediction and does not count.
        logits: floating, `(batch, length, vocabulary)`; computed in float32.

    Returns:
        Scalar, float32, in nats; 0 if the mask is empty.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import losses
    >>> logits = np.zeros((1, 3, 4), "float32")
    >>> loss = losses.sequence_crossentropy(np.array([[1, 2, 3]]), np.array([[0, 1, 1]]), logits)
    >>> round(float(loss), 4) == round(float(np.log(4)), 4)
    True

    Reference: https://kexue.fm/archives/7809; UniLM: https://arxiv.org/abs/1905.03197
    """
    token_ids, mask = ops.convert_to_tensor(token_ids), ops.convert_to_tensor(mask)
    logits = ops.convert_to_tensor(logits)
    return _mean_crossentropy(token_ids[:, 1:], logits[:, :-1], mask[:, 1:])


def _mean_crossentropy(labels, logits, mask, weights=1.0):
    """Of texts whose tokens weigh `weights`, `(batch, 1)`; divided by the sum of the mask alone."""
    mask = ops.cast(mask, "float32")
    # what stands at masked positions must reach neither the loss nor, as 0 * inf, its gradient
    visible = mask > 0
    labels = ops.where(visible, ops.cast(labels, "int32"), 0)
    logits = ops.maximum(ops.cast(logits, "float32"), LOWEST)
    logits = ops.where(visible[..., None], logits, 0.0)
    values = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return ops.sum(values * mask * weights) / ops.maximum(ops.sum(mask), 1e-9)


@keras.saving.register_keras_serializable(package="kexue_keras")
class SequenceCrossentropy(keras.losses.Loss):
    """Mean cross-entropy over the tokens of a batch that are not padding.

    For a model with `target_positions`, whose logits stand where the targets are, so there is
    nothing to shift. Compiled into a model this is the same number as `sequence_crossentropy` on
    the logits of all positions, at a fraction of the work.

    A sample weight multiplies the losses of all tokens of a text; what they are divided by stays
    the number of tokens in the batch. So weights of 1 change nothing, and negative ones make a text
    less probable: the advantages of a policy gradient, see `training.SampledSequences`.

    Args:
        ignore_id: label that does not count.

    Call arguments:
        y_true: int, `(batch, targets)`.
        y_pred: logits, `(batch, targets, vocabulary)`.
        sample_weight: None or float `(batch,)`; a ValueError if it is of another shape. Give tokens
            that should not count the label `ignore_id`.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import losses
    >>> loss = losses.SequenceCrossentropy()
    >>> value = loss(np.array([[2, 0]]), np.zeros((1, 2, 4), "float32"))
    >>> round(float(value), 4) == round(float(np.log(4)), 4)
    True
    """

    def __init__(self, ignore_id=0, name="sequence_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.ignore_id = ignore_id

    def __call__(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if sample_weight is None:
            return self.call(y_true, y_pred)
        weights = ops.convert_to_tensor(sample_weight)
        if len(weights.shape) != 1:
            raise ValueError(
                "`sample_weight` must be of the shape (batch,), a weight for every text; give "
                "tokens that should not count the label `ignore_id`. "
                f"Received: sample_weight of shape {tuple(weights.shape)}"
            )
        visible = ops.not_equal(y_true, self.ignore_id)
        weights = ops.cast(weights, "float32")[:, None]
        return _mean_crossentropy(y_true, y_pred, visible, weights)

    def call(self, y_true, y_pred):
        return _mean_crossentropy(y_true, y_pred, ops.not_equal(y_true, self.ignore_id))

    def get_config(self):
        return {**super().get_config(), "ignore_id": self.ignore_id}
