"""Layers: attention, masks, embeddings and the parts of a transformer."""

from kexue_keras.layers.attention import MultiHeadAttention
from kexue_keras.layers.attention_mask import AttentionMask
from kexue_keras.layers.embeddings import Embedding, PositionEmbedding
from kexue_keras.layers.feed_forward import FeedForward
from kexue_keras.layers.language_model_head import BiasAdd, FirstToken, GatherPositions

__all__ = [
    "AttentionMask",
    "BiasAdd",
    "Embedding",
    "FeedForward",
    "FirstToken",
    "GatherPositions",
    "MultiHeadAttention",
    "PositionEmbedding",
]
