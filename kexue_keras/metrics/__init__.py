"""Measures of predictions and of generated samples."""

from kexue_keras.metrics.correlation import spearman
from kexue_keras.metrics.entities import EntityScores, entities, entity_f1
from kexue_keras.metrics.generation import bleu, rouge_l
from kexue_keras.metrics.matching import exact_match, f1
from kexue_keras.metrics.samples import (
    kernel_mmd,
    nearest_neighbour_accuracy,
    precision_and_recall,
)
from kexue_keras.metrics.threshold import optimal_threshold, optimal_thresholds

__all__ = [
    "EntityScores",
    "bleu",
    "entities",
    "entity_f1",
    "exact_match",
    "f1",
    "kernel_mmd",
    "nearest_neighbour_accuracy",
    "optimal_threshold",
    "optimal_thresholds",
    "precision_and_recall",
    "rouge_l",
    "spearman",
]
