"""Analysis of models: where gradients go, and by what outputs are explained."""

from kexue_keras.analysis.gradient_penalty_bound import gradient_penalty_bound
from kexue_keras.analysis.recurrent_gradients import recurrent_gradient_norms
from kexue_keras.analysis.spectral_norms import spectral_norms

__all__ = ["gradient_penalty_bound", "recurrent_gradient_norms", "spectral_norms"]
