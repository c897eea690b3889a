"""bert4keras.layers: its layers, and those of Keras."""

import keras as _keras
from keras import ops as _ops

from kexue_keras import layers as _layers
from kexue_keras.compat.elsewhere import ELSEWHERE, refuse
from kexue_keras.layers import (
    ConditionalRandomField,
    EfficientGlobalPointer,
    Embedding,
    FeedForward,
    GlobalPointer,
    LayerNormalization,
    MaximumEntropyMarkovModel,
    MultiHeadAttention,
    PositionEmbedding,
)
from kexue_keras.ops import LOWEST as _LOWEST

__all__ = [
    "Concatenate1D",
    "ConditionalRandomField",
    "EfficientGlobalPointer",
    "Embedding",
    "FeedForward",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "GlobalPointer",
    "Layer",
    "LayerNormalization",
    "Loss",
    "MaximumEntropyMarkovModel",
    "MultiHeadAttention",
    "PositionEmbedding",
]

GlobalAveragePooling1D = _keras.layers.GlobalAveragePooling1D


def __getattr__(name):
    if name not in ELSEWHERE["layers"] and hasattr(_keras.layers, name):
        return getattr(_keras.layers, name)
    refuse("layers", name)


class Layer(_keras.layers.Layer):
    """Keras's, which passes masks on."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True


class Loss(_layers.Loss):
    """`kexue_keras.layers.Loss` whose `compute_loss` sees floating numbers only.

    Inputs of bert4keras's models are floating, and its programs multiply them.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        written = cls.__dict__.get("compute_loss")
        if written is not None:
            cls.compute_loss = _of_floats(written)


def _of_floats(compute_loss):
    def compute(self, inputs, mask=None):
        return compute_loss(self, _keras.tree.map_structure(_floating, inputs), mask)

    return compute


def _floating(x):
    if "int" not in _keras.backend.standardize_dtype(x.dtype):
        return x
    return _ops.cast(x, _keras.config.floatx())


class GlobalMaxPooling1D(Layer):
    """The largest of the visible places."""

    def call(self, inputs, mask=None):
        if mask is not None:
            inputs = _ops.where(_ops.expand_dims(mask, -1), inputs, _LOWEST)
        return _ops.max(inputs, axis=1)

    def compute_mask(self, inputs, mask=None):
        return None


class Concatenate1D(_keras.layers.Concatenate):
    """Keras's, along the length."""

    def __init__(self, **kwargs):
        super().__init__(axis=1, **{k: v for k, v in kwargs.items() if k != "axis"})
