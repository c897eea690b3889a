"""Losses, as functions and as `keras.losses.Loss` classes."""

from kexue_keras.losses.combinatorial import combinatorial_softmax_crossentropy
from kexue_keras.losses.cosent import CoSENT, cosent_loss
from kexue_keras.losses.divergence import BinaryDivergence, CategoricalDivergence
from kexue_keras.losses.knn_entropy import knn_entropy
from kexue_keras.losses.multilabel import (
    LogSumExpPairwise,
    MultilabelCategoricalCrossentropy,
    SparseMultilabelCategoricalCrossentropy,
    log_sum_exp_pairwise_loss,
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)
from kexue_keras.losses.sequence import SequenceCrossentropy, sequence_crossentropy
from kexue_keras.losses.taylor import TaylorCrossentropy, taylor_crossentropy
from kexue_keras.losses.transport import c_transform, euclidean_cost, kantorovich_dual

__all__ = [
    "BinaryDivergence",
    "CategoricalDivergence",
    "CoSENT",
    "LogSumExpPairwise",
    "MultilabelCategoricalCrossentropy",
    "SequenceCrossentropy",
    "SparseMultilabelCategoricalCrossentropy",
    "TaylorCrossentropy",
    "c_transform",
    "combinatorial_softmax_crossentropy",
    "cosent_loss",
    "euclidean_cost",
    "kantorovich_dual",
    "knn_entropy",
    "log_sum_exp_pairwise_loss",
    "multilabel_categorical_crossentropy",
    "sequence_crossentropy",
    "sparse_multilabel_categorical_crossentropy",
    "taylor_crossentropy",
]
