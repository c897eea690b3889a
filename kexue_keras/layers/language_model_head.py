"""Small layers of a language model's head."""

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


@keras.saving.register_keras_serializable(package="kexue_keras")
class FirstToken(layers.Layer):
    """Picks the first vector of every sequence, BERT's [CLS].

    Input shape: `(batch, length, features)`. Output shape: `(batch, features)`.

    Masking: drops the mask.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> tuple(layers.FirstToken()(np.zeros((2, 3, 4))).shape)
    (2, 4)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return inputs[:, 0]

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *input_shape[2:])


@keras.saving.register_keras_serializable(package="kexue_keras")
class BiasAdd(layers.Layer):
    """Adds a learned bias to the last axis; with `only`, a list of int, these entries of it.

    Input and output shape: `(..., features)`, or `(..., len(only))`.

    Masking: passes a mask through.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> np.asarray(layers.BiasAdd()(np.ones((1, 2)))).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")

    def call(self, inputs, only=None):
        return inputs + (self.bias if only is None else ops.take(self.bias, only, axis=0))

    def compute_output_spec(self, inputs, only=None):
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
