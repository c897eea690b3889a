"""Measures of predictions."""

from kexue_keras.metrics.matching import exact_match, f1
from kexue_keras.metrics.threshold import optimal_threshold

__all__ = ["exact_match", "f1", "optimal_threshold"]
