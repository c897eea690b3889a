"""Formats of weights: Google's checkpoints and bert4keras's files."""
