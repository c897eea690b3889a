"""Text to token ids and back. No deep-learning framework is imported."""

from kexue_keras.tokenizers.tokenizer import Tokenizer
from kexue_keras.tokenizers.vocabulary import load_vocab

__all__ = ["Tokenizer", "load_vocab"]
