"""The vectors at some positions of every sequence."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="kexue_keras")
class GatherPositions(layers.Layer):
    """Picks the vectors at some positions of every sequence.

    A masked or conditional language model needs its head, the largest matrix of the model, only
    where there is a token to predict.

    Args:
        first_counts: whether position 0 in the first place of a row is a place like the others, as
            in a language model, where it predicts the first token. Every row must have a target
            then.

    Call arguments:
        inputs: list `[x, positions]` of floating `(batch, length, features)` and int
            `(batch, picked)`; position 0 fills up rows with fewer positions.

    Output shape: `(batch, picked, features)`.

    Masking: makes a mask that hides the filled up places (position 0).

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> x = np.arange(6.0).reshape(1, 3, 2)
    >>> np.asarray(layers.GatherPositions()([x, np.array([[2, 0]])])).tolist()
    [[[4.0, 5.0], [0.0, 1.0]]]
    """

    def __init__(self, first_counts=False, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.first_counts = first_counts

    def call(self, inputs):
        x, positions = inputs
        return ops.take_along_axis(x, ops.expand_dims(ops.cast(positions, "int32"), 2), axis=1)

    def compute_mask(self, inputs, mask=None):
        counts = ops.not_equal(inputs[1], 0)
        if not self.first_counts:
            return counts
        return ops.concatenate([ops.ones_like(counts[:, :1]), counts[:, 1:]], axis=1)

    def compute_output_spec(self, inputs):
        x, positions = inputs
        return keras.KerasTensor((*positions.shape, x.shape[-1]), dtype=x.dtype)

    def get_config(self):
        return {**super().get_config(), "first_counts": self.first_counts}
