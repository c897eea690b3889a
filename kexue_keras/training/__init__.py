"""Ways to train: each is a `keras.Model` around a model, and one goes around another."""

from kexue_keras.training.adversarial_training import AdversarialTraining
from kexue_keras.training.gradient_penalty import GradientPenalty
from kexue_keras.training.random_replacement import random_replacement
from kexue_keras.training.strategy import Strategy
from kexue_keras.training.tea_for_n import TeaForN
from kexue_keras.training.virtual_adversarial_training import VirtualAdversarialTraining

__all__ = [
    "AdversarialTraining",
    "GradientPenalty",
    "Strategy",
    "TeaForN",
    "VirtualAdversarialTraining",
    "random_replacement",
]
