"""A regularizer that a shift of scale between layers cannot deceive."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kexue_keras")
class WeightScaleShiftInvariant(keras.regularizers.Regularizer):
    """WEISSI: `norm_weight * log ||W|| + direction_weight * || W / ||W|| ||_1`.

    With ReLU-like activations, one layer's weights may be multiplied by what another's are divided
    by without any change of the network's output; a sum of squares then falls without anything
    having been regularized. The sum of this regularizer over all layers stays the same. ||W|| is
    the Frobenius norm, the second norm that of all entries.

    When such a network has biases, the shift multiplies the bias of layer l by the product of the
    factors of all layers up to l (the article multiplies it by that of layer l alone, which changes
    the output).

    Args:
        norm_weight: weight of the first term. It has no lower bound as W goes to 0.
        direction_weight: weight of the second term, which favours sparse weights.

    Call arguments:
        x: a weight of any shape; computed in float32.

    Returns:
        float32 scalar.

    Example:

    >>> import numpy as np
    >>> from kexue_keras.regularizers import WeightScaleShiftInvariant
    >>> regularizer = WeightScaleShiftInvariant(norm_weight=1.0, direction_weight=1.0)
    >>> round(float(regularizer(np.array([[3.0, 4.0]]))), 4)
    3.0094

    Reference: https://kexue.fm/archives/7681; https://arxiv.org/abs/2008.02965
    """

    def __init__(self, norm_weight=0.0, direction_weight=0.0):
        for name, value in (("norm_weight", norm_weight), ("direction_weight", direction_weight)):
            if not value >= 0:
                raise ValueError(f"`{name}` must not be negative. Received: {value}")
        self.norm_weight = float(norm_weight)
        self.direction_weight = float(direction_weight)

    def __call__(self, x):
        x = ops.cast(x, "float32")
        # scaled first: squares neither overflow nor vanish
        largest = ops.maximum(ops.stop_gradient(ops.max(ops.abs(x))), 1e-30)
        scaled = x / largest
        # at 0 the norm has no gradient; it is left at a tiny value
        norm = ops.sqrt(ops.maximum(ops.sum(ops.square(scaled)), 1e-12))
        loss = self.norm_weight * (ops.log(norm) + ops.log(largest))
        return loss + self.direction_weight * ops.sum(ops.abs(scaled)) / norm

    def get_config(self):
        return {"norm_weight": self.norm_weight, "direction_weight": self.direction_weight}
