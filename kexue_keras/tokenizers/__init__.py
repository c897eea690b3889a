"""Text to token ids and back. No deep-learning framework is imported."""

from kexue_keras.tokenizers.sentence_piece_tokenizer import SentencePieceTokenizer
from kexue_keras.tokenizers.tokenizer import Tokenizer
from kexue_keras.tokenizers.vocabulary import load_vocab

__all__ = ["SentencePieceTokenizer", "Tokenizer", "load_vocab"]
