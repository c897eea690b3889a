"""The initializer of RoFormerV2."""

import keras


@keras.saving.register_keras_serializable(package="kexue_keras")
class WidthScaledNormal(keras.initializers.Initializer):
    """Truncated normal values whose deviation follows the width and the depth of a model.

    `stddev = 1.13684723 / sqrt(width) * depth ** (-1 / order)`, which is 1 / sqrt(width) after the
    truncation at two deviations where depth is 1. The width of a kernel is its first axis; of a
    table of more than 10,000 or fewer than 10 rows, as of tokens and segments, the second one.

    Args:
        depth: number of blocks of the model.
        order: see the formula; the number of sums of a block.
        seed: int, or None: other values on each call.

    Example:

    >>> from kexue_keras.models.width_scaled_normal import WidthScaledNormal
    >>> tuple(WidthScaledNormal(12)((16, 8)).shape)
    (16, 8)

    Reference: https://kexue.fm/archives/8978 and https://kexue.fm/archives/8998
    """

    def __init__(self, depth, order=2, seed=None):
        if depth < 1:
            raise ValueError(f"`depth` must be at least 1. Received: {depth}")
        self.depth = depth
        self.order = order
        self.seed = seed

    def __call__(self, shape, dtype=None):
        width = shape[1] if shape[0] > 10000 or shape[0] < 10 else shape[0]
        stddev = 1.13684723 / width**0.5 * self.depth ** (-1 / self.order)
        return keras.initializers.TruncatedNormal(stddev=stddev, seed=self.seed)(shape, dtype)

    def get_config(self):
        return {"depth": self.depth, "order": self.order, "seed": self.seed}
