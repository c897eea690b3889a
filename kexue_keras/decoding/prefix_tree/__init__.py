"""Prefix trees of millions of texts. No deep-learning framework is imported."""

from kexue_keras.decoding.prefix_tree.tree import PrefixTree

__all__ = ["PrefixTree"]
