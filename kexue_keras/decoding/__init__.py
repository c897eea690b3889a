"""Decoding: cached, batched and compiled generation."""

from kexue_keras.decoding.generator import Generator

__all__ = ["Generator"]
