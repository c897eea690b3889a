"""Sizes and texts for comparisons with transformers."""

import numpy as np

SIZES = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 16,
}
FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys")


def token_ids(first=1, lengths=(11, 7), seed=0):
    """Ids `(2, 11)` from `first` on and their mask; 0 where a text is over."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(first, 50, (len(lengths), max(lengths)))
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return (ids * mask).astype("int32"), mask


def assert_equal(found, expected, mask):
    """Compares where there is text; the values must be large enough to show a fault."""
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(found[mask], expected[mask], atol=1e-4, rtol=1e-4)
