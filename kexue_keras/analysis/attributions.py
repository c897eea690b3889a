"""What `integrated_gradients` returns."""

from typing import Any, NamedTuple

import numpy as np


class Attributions(NamedTuple):
    """Shares of the inputs in a difference of the model's outputs, as NumPy arrays.

    Attributes:
        attributions: float32, of the inputs' structure and shapes; with an embedding
            `(batch, length, size)`, the shares of every component of the embeddings.
        tokens: float32 `(batch, length)`, the shares of the tokens, sums over the components; None
            without an embedding.
        gradients: float32, shaped as `attributions`: the mean gradients along the path.
        difference: float32 `(batch,)`, $F(x) - F(\\bar x)$.
        error: float32 `(batch,)`, how far the sum of the attributions is from the difference. More
            steps make it smaller.

    Example: see `integrated_gradients`.
    """

    attributions: Any
    tokens: np.ndarray | None
    gradients: Any
    difference: np.ndarray
    error: np.ndarray
