"""Ways to train a model: each is a `keras.Model` around a model, and one goes around another."""

from kexue_keras.training.adversarial_training import AdversarialTraining
from kexue_keras.training.auxiliary import auxiliary_weights, mixed_weights
from kexue_keras.training.gradient_penalty import GradientPenalty
from kexue_keras.training.min_norm import frank_wolfe_weights, min_norm_weights
from kexue_keras.training.multi_task import MultiTask
from kexue_keras.training.strategy import Strategy

__all__ = [
    "AdversarialTraining",
    "GradientPenalty",
    "MultiTask",
    "Strategy",
    "auxiliary_weights",
    "frank_wolfe_weights",
    "min_norm_weights",
    "mixed_weights",
]
