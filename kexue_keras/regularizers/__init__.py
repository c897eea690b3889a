"""Regularizers."""

from kexue_keras.regularizers.weight_scale_invariant import WeightScaleShiftInvariant

__all__ = ["WeightScaleShiftInvariant"]
