"""Ways to train a model: each is a `keras.Model` around a model, and one goes around another."""

from kexue_keras.training.adversarial_training import AdversarialTraining
from kexue_keras.training.gradient_penalty import GradientPenalty
from kexue_keras.training.guided_parameter_search import GuidedParameterSearch
from kexue_keras.training.policy_gradient import PolicyGradient
from kexue_keras.training.python_objective import PythonObjective, python_objective
from kexue_keras.training.sampled_sequences import SampledSequences
from kexue_keras.training.strategy import Strategy
from kexue_keras.training.zeroth_order import ZerothOrder

__all__ = [
    "AdversarialTraining",
    "GradientPenalty",
    "GuidedParameterSearch",
    "PolicyGradient",
    "PythonObjective",
    "SampledSequences",
    "Strategy",
    "ZerothOrder",
    "python_objective",
]
