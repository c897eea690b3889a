"""Ways to train: each is a `keras.Model` around a model, and one goes around another."""

from kexue_keras.training.adversarial_training import AdversarialTraining
from kexue_keras.training.auxiliary import auxiliary_weights, mixed_weights
from kexue_keras.training.gradient_penalty import GradientPenalty
from kexue_keras.training.guided_parameter_search import GuidedParameterSearch
from kexue_keras.training.min_norm import frank_wolfe_weights, min_norm_weights
from kexue_keras.training.multi_task import MultiTask
from kexue_keras.training.policy_gradient import PolicyGradient
from kexue_keras.training.python_objective import PythonObjective, python_objective
from kexue_keras.training.random_replacement import random_replacement
from kexue_keras.training.sampled_sequences import SampledSequences
from kexue_keras.training.strategy import Strategy
from kexue_keras.training.tea_for_n import TeaForN
from kexue_keras.training.virtual_adversarial_training import VirtualAdversarialTraining
from kexue_keras.training.zeroth_order import ZerothOrder

__all__ = [
    "AdversarialTraining",
    "GradientPenalty",
    "GuidedParameterSearch",
    "MultiTask",
    "PolicyGradient",
    "PythonObjective",
    "SampledSequences",
    "Strategy",
    "TeaForN",
    "VirtualAdversarialTraining",
    "ZerothOrder",
    "auxiliary_weights",
    "frank_wolfe_weights",
    "min_norm_weights",
    "mixed_weights",
    "python_objective",
    "random_replacement",
]
