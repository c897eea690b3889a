"""Token embeddings with bert4keras's arguments."""

import keras
from keras import initializers, layers, ops

from kexue_keras.layers.attention_mask import visible_tokens


@keras.saving.register_keras_serializable(package="kexue_keras")
class Embedding(layers.Layer):
    """An embedding whose table is also the output matrix of a language model.

    `layer(token_ids)` looks vectors up; `layer(hidden, mode="dense")` multiplies by the transposed
    table, so that input and output weights are tied; with `only`, a list of ids, by the rows of
    these alone.

    Args:
        input_dim: size of the vocabulary.
        output_dim: size of a vector.
        embeddings_initializer: initializer of the table.
        mask_zero: whether id 0 is padding. The first position is never masked (as in bert4keras).
        blueprint: None, or the description of the transformer whose token embedding this is: by
            it a decoder or a checkpoint knows the transformer in any model built of its layers,
            and in such a model read from a file.

    Input shape: int `(batch, length)`; in mode "dense" floating `(..., output_dim)`.

    Output shape: `(batch, length, output_dim)`; in mode "dense" `(..., input_dim)` or
    `(..., len(only))`.

    Masking: makes a Keras mask if `mask_zero`; mode "dense" passes one through.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> layer = layers.Embedding(10, 4)
    >>> hidden = layer(np.array([[1, 2, 3]]))
    >>> tuple(hidden.shape), tuple(layer(hidden, mode="dense").shape)
    ((1, 3, 4), (1, 3, 10))
    """

    def __init__(
        self,
        input_dim,
        output_dim,
        embeddings_initializer="uniform",
        mask_zero=False,
        blueprint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.autocast = False  # half precision would round ids that come as floats
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.mask_zero = mask_zero
        self.blueprint = blueprint
        self.supports_masking = True

    def build(self, input_shape):
        self.embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            name="embeddings",
        )

    def __call__(self, inputs, *args, **kwargs):
        if (args or (kwargs.get("mode", "embedding"),))[0] == "embedding":
            # ids may come as floats; as integers they are told from vectors in `compute_mask`
            inputs = inputs if hasattr(inputs, "dtype") else ops.convert_to_tensor(inputs)
            if keras.backend.is_float_dtype(inputs.dtype):
                inputs = ops.cast(inputs, "int32")
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs, mode="embedding", only=None):
        if mode == "embedding":
            table = ops.cast(self.embeddings, self.compute_dtype)
            return ops.take(table, inputs, axis=0)
        if mode == "dense":
            table = self.embeddings if only is None else ops.take(self.embeddings, only, axis=0)
            table = ops.cast(table, self.compute_dtype)
            leading = ops.shape(inputs)[:-1]
            rows = ops.reshape(ops.cast(inputs, self.compute_dtype), (-1, self.output_dim))
            # written this way round, XLA does not copy the table at every step of a loop
            dense = ops.transpose(ops.matmul(table, ops.transpose(rows)))
            return ops.reshape(dense, (*leading, table.shape[0]))
        raise ValueError(f'`mode` must be "embedding" or "dense". Received: {mode!r}')

    def compute_mask(self, inputs, mask=None):
        is_vector = keras.backend.is_float_dtype(inputs.dtype)
        if not self.mask_zero or is_vector or len(inputs.shape) != 2:
            return mask
        return visible_tokens(inputs)

    def compute_output_spec(self, inputs, mode="embedding", only=None):
        shape = inputs.shape[:-1] if mode == "dense" else inputs.shape
        vocabulary = self.input_dim if only is None else len(only)
        size = vocabulary if mode == "dense" else self.output_dim
        return keras.KerasTensor((*shape, size), dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "mask_zero": self.mask_zero,
            "blueprint": self.blueprint,
        }
