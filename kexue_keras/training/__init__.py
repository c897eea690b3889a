"""Ways to train a model: each is a `keras.Model` around a model, and one goes around another."""

from kexue_keras.training.adversarial_training import AdversarialTraining
from kexue_keras.training.gradient_penalty import GradientPenalty
from kexue_keras.training.strategy import Strategy

__all__ = ["AdversarialTraining", "GradientPenalty", "Strategy"]
