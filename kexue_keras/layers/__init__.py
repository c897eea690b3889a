"""Layers: attention, masks, embeddings and the parts of a transformer."""

from kexue_keras.layers.attention_mask import AttentionMask
from kexue_keras.layers.attention_part import AttentionPart
from kexue_keras.layers.bias_add import BiasAdd
from kexue_keras.layers.conditional_random_field import ConditionalRandomField
from kexue_keras.layers.efficient_global_pointer import EfficientGlobalPointer
from kexue_keras.layers.embedding import Embedding
from kexue_keras.layers.feed_forward import FeedForward
from kexue_keras.layers.first_token import FirstToken
from kexue_keras.layers.gather_positions import GatherPositions
from kexue_keras.layers.gaussian_sampling import GaussianSampling
from kexue_keras.layers.global_pointer import GlobalPointer
from kexue_keras.layers.layer_normalization import LayerNormalization
from kexue_keras.layers.loss import Loss
from kexue_keras.layers.masked_add import MaskedAdd
from kexue_keras.layers.maximum_entropy_markov_model import MaximumEntropyMarkovModel
from kexue_keras.layers.multi_head_attention import MultiHeadAttention
from kexue_keras.layers.output_reset_gru_cell import OutputResetGRUCell
from kexue_keras.layers.performer_attention import PerformerAttention
from kexue_keras.layers.position_embedding import PositionEmbedding
from kexue_keras.layers.positions import apply_rotary_positions, relative_positions
from kexue_keras.layers.previous_states import PreviousStates
from kexue_keras.layers.relative_position_embedding_t5 import RelativePositionEmbeddingT5
from kexue_keras.layers.relative_position_table import RelativePositionTable
from kexue_keras.layers.self_terminating import SelfTerminating

__all__ = [
    "AttentionMask",
    "AttentionPart",
    "BiasAdd",
    "ConditionalRandomField",
    "EfficientGlobalPointer",
    "Embedding",
    "FeedForward",
    "FirstToken",
    "GatherPositions",
    "GaussianSampling",
    "GlobalPointer",
    "LayerNormalization",
    "Loss",
    "MaskedAdd",
    "MaximumEntropyMarkovModel",
    "MultiHeadAttention",
    "OutputResetGRUCell",
    "PerformerAttention",
    "PositionEmbedding",
    "PreviousStates",
    "RelativePositionEmbeddingT5",
    "RelativePositionTable",
    "SelfTerminating",
    "apply_rotary_positions",
    "relative_positions",
]
