"""A language model's head that cannot go on for ever."""

import math

import keras
from keras import layers, ops

from kexue_keras.ops import LOWEST


@keras.saving.register_keras_serializable(package="kexue_keras")
class SelfTerminating(layers.Layer):
    """Head whose probability of the end never falls, so that greedy decoding stops too.

    Formulas. `s_t = (1 - epsilon) sigmoid(w . h_t + b)`, `alpha_t = s_0 s_1 ... s_t`; the end has
    the probability `1 - alpha_t`, the other tokens share `alpha_t` by a softmax of `W h_t`. So the
    probability of the end is at least `1 - (1 - epsilon)^(t + 1)`, and greedy decoding must stop
    once that exceeds one half: after 69 tokens for epsilon = 0.01.

    Args:
        vocabulary_size: number of tokens, the end included.
        end_id: id of the token that ends a text.
        epsilon: over 0, under 1.
        kernel_initializer: initializer of both kernels.

    Input shape: hidden states of a causal model, floating `(batch, length, features)`.

    Output shape: log probabilities `(batch, length, vocabulary_size)`, float32; they may serve as
    logits, their softmax being the probabilities.

    Masking: masked positions are passed over; their own output means nothing.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> head = layers.SelfTerminating(vocabulary_size=5, end_id=3)
    >>> end = np.exp(np.asarray(head(np.zeros((1, 4, 8), "float32"))))[0, :, 3]
    >>> [round(float(p), 3) for p in end]
    [0.505, 0.755, 0.879, 0.94]

    Reference: https://kexue.fm/archives/7500; Welleck et al. 2020, https://arxiv.org/abs/2002.02492
    """

    def __init__(
        self,
        vocabulary_size,
        end_id,
        epsilon=0.01,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 0 <= end_id < vocabulary_size:
            raise ValueError(f"`end_id` must be an id below {vocabulary_size}. Received: {end_id}")
        if not 0 < epsilon < 1:
            raise ValueError(f"`epsilon` must be over 0 and under 1. Received: {epsilon}")
        self.supports_masking = True
        self.vocabulary_size = vocabulary_size
        self.end_id = end_id
        self.epsilon = epsilon
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        for name, units in (("token_dense", self.vocabulary_size), ("end_dense", 1)):
            dense = layers.Dense(
                units,
                kernel_initializer=self.kernel_initializer.clone(),
                dtype=self.dtype_policy,
                name=name,
            )
            dense.build(input_shape)
            setattr(self, name, dense)

    def call(self, inputs, mask=None):
        going_on = ops.cast(self.end_dense(inputs), "float32")[..., 0]
        # log of (1 - epsilon) sigmoid(x), without ever taking the log of 0
        log_s = ops.log_sigmoid(going_on) + math.log1p(-self.epsilon)
        if mask is not None:
            log_s = ops.where(mask, log_s, 0.0)
        log_alpha = ops.cumsum(log_s, axis=1)[..., None]
        is_end = ops.arange(self.vocabulary_size) == self.end_id
        logits = ops.where(is_end, LOWEST, ops.cast(self.token_dense(inputs), "float32"))
        others = ops.log_softmax(logits, axis=-1) + log_alpha
        # 1 - alpha, which epsilon keeps from 0
        end = ops.log(-ops.expm1(ops.minimum(log_alpha, math.log1p(-self.epsilon))))
        return ops.where(is_end, end, others)

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor((*inputs.shape[:-1], self.vocabulary_size), dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "end_id": self.end_id,
            "epsilon": self.epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
