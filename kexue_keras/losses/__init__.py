"""Losses, as functions and as `keras.losses.Loss` classes."""

from kexue_keras.losses.sequence import SequenceCrossentropy, sequence_crossentropy

__all__ = ["SequenceCrossentropy", "sequence_crossentropy"]
