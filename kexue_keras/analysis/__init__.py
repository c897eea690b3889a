"""Looks into models: which inputs decide, what gradients do."""

from kexue_keras.analysis.attribution_page import attribution_html
from kexue_keras.analysis.attribution_picture import attribution_picture
from kexue_keras.analysis.attributions import Attributions
from kexue_keras.analysis.integrated_gradients import integrated_gradients

__all__ = ["Attributions", "attribution_html", "attribution_picture", "integrated_gradients"]
