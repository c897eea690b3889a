"""Optimizers, and one that goes around any other."""

from kexue_keras.optimizers.adafactor import AdaFactor
from kexue_keras.optimizers.adaptive_step_size import AdaptiveStepSize
from kexue_keras.optimizers.exponentiated_gradient import ExponentiatedGradient
from kexue_keras.optimizers.learning_rate_multipliers import LearningRateMultipliers
from kexue_keras.optimizers.piecewise_linear import PiecewiseLinear
from kexue_keras.optimizers.soft_clipping import SoftClipping

__all__ = [
    "AdaFactor",
    "AdaptiveStepSize",
    "ExponentiatedGradient",
    "LearningRateMultipliers",
    "PiecewiseLinear",
    "SoftClipping",
]
