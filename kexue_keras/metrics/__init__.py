"""Measures of predictions."""

from kexue_keras.metrics.matching import exact_match, f1

__all__ = ["exact_match", "f1"]
