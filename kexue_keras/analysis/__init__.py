"""Looks into models: which inputs decide, where gradients go."""

from kexue_keras.analysis.attribution_page import attribution_html
from kexue_keras.analysis.attribution_picture import attribution_picture
from kexue_keras.analysis.attributions import Attributions
from kexue_keras.analysis.gradient_penalty_bound import gradient_penalty_bound
from kexue_keras.analysis.integrated_gradients import integrated_gradients
from kexue_keras.analysis.recurrent_gradients import recurrent_gradient_norms
from kexue_keras.analysis.spectral_norms import spectral_norms

__all__ = [
    "Attributions",
    "attribution_html",
    "attribution_picture",
    "gradient_penalty_bound",
    "integrated_gradients",
    "recurrent_gradient_norms",
    "spectral_norms",
]
