"""Layer normalization, whose gain and offset may depend on a condition."""

import keras
from keras import activations, initializers, layers, ops


@keras.saving.register_keras_serializable(package="kexue_keras")
class LayerNormalization(layers.LayerNormalization):
    """Keras's layer normalization; with `conditional` its gain and offset follow a vector.

    `y = n(x) (gamma + z W_gamma) + beta + z W_beta`, where n(x) has mean 0 and variance 1 over the
    last axis and z is the condition, or with `hidden_units` `activation(condition W_hidden)`. The
    two projections begin with zeros, so that a conditional layer begins as the ordinary one: a
    pretrained model is fine-tuned from exactly what it was.

    With `zero_mean=False` the mean stays: `n(x) = x / sqrt(mean(x^2) + epsilon)`.

    Args:
        conditional: whether the layer is called with `[x, condition]`.
        hidden_units: units of a dense layer, without bias, between condition and projections.
        hidden_activation: its activation.
        hidden_initializer: initializer of its kernel.
        epsilon: added to the variance; 1e-12 is BERT's.
        zero_mean: whether the mean is subtracted, as in BERT, or not, as in T5 and RoFormerV2.
        **kwargs: Keras's arguments (`center`, `scale`, `beta_initializer`, ...).

    Input shape: `(..., features)`, and a condition `(batch, conditions)`.

    Output shape: `(..., features)`. Computed in float32.

    Masking: passes the mask of x through.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> layer = layers.LayerNormalization(conditional=True)
    >>> tuple(layer([np.ones((2, 3, 4), "float32"), np.ones((2, 5), "float32")]).shape)
    (2, 3, 4)

    Reference: https://kexue.fm/archives/7124; Ba et al. 2016, https://arxiv.org/abs/1607.06450
    """

    def __init__(
        self,
        conditional=False,
        hidden_units=None,
        hidden_activation="linear",
        hidden_initializer="glorot_uniform",
        epsilon=1e-12,
        zero_mean=True,
        **kwargs,
    ):
        if kwargs.pop("rms_scaling", False):
            raise ValueError("`rms_scaling` must be False; see `zero_mean`. Received: True")
        super().__init__(epsilon=epsilon, **kwargs)
        if hidden_units is not None and not conditional:
            raise ValueError(
                f"`hidden_units` must be None unless `conditional`. Received: {hidden_units}"
            )
        if (conditional or not zero_mean) and self.axis != -1:
            kind = "`conditional`" if conditional else "`zero_mean` is False"
            raise ValueError(f"`axis` must be -1 if {kind}. Received: {self.axis}")
        self.zero_mean = zero_mean
        self.conditional = conditional
        self.hidden_units = hidden_units
        self.hidden_activation = activations.get(hidden_activation)
        self.hidden_initializer = initializers.get(hidden_initializer)

    def build(self, input_shape):
        if not self.conditional:
            super().build(input_shape)
            return
        shape, condition_shape = input_shape
        super().build(shape)
        self.axis = -1  # which Keras makes a list of
        size = condition_shape[-1]
        if self.hidden_units is not None:
            self.hidden_kernel = self.add_weight(
                shape=(size, self.hidden_units),
                initializer=self.hidden_initializer,
                autocast=False,
                name="hidden_kernel",
            )
            size = self.hidden_units
        for name in ("beta", "gamma"):
            kernel = None
            if getattr(self, name) is not None:
                kernel = self.add_weight(
                    shape=(size, shape[-1]),
                    initializer="zeros",
                    autocast=False,
                    name=f"{name}_kernel",
                )
            setattr(self, f"{name}_kernel", kernel)

    def call(self, inputs):
        if self.zero_mean and not self.conditional:
            return super().call(inputs)
        wide = "float64" if self.compute_dtype == "float64" else "float32"
        x, z = inputs if self.conditional else (inputs, None)
        gamma, beta = (v if v is None else ops.cast(v, wide) for v in (self.gamma, self.beta))
        if self.conditional:
            z = ops.cast(z, wide)
            if self.hidden_units is not None:
                z = self.hidden_activation(ops.matmul(z, self.hidden_kernel))
            z = ops.reshape(z, (-1, *[1] * (len(x.shape) - 2), z.shape[-1]))
            gamma = gamma if gamma is None else gamma + ops.matmul(z, self.gamma_kernel)
            beta = beta if beta is None else beta + ops.matmul(z, self.beta_kernel)
        y = ops.cast(x, wide)
        if self.zero_mean:
            y = ops.layer_normalization(y, None, None, -1, self.epsilon)
        else:
            y = y * ops.rsqrt(ops.mean(ops.square(y), -1, keepdims=True) + self.epsilon)
        y = y if gamma is None else y * gamma
        y = y if beta is None else y + beta
        return ops.cast(y, self.compute_dtype)

    def bert4keras_weights(self):
        """bert4keras's names and this layer's variables, in bert4keras's order: beta first."""
        names = {
            "beta": "beta",
            "gamma": "gamma",
            "hidden_dense/kernel": "hidden_kernel",
            "beta_dense/kernel": "beta_kernel",
            "gamma_dense/kernel": "gamma_kernel",
        }
        found = ((name, getattr(self, ours, None)) for name, ours in names.items())
        return [(name, variable) for name, variable in found if variable is not None]

    def compute_mask(self, inputs, mask=None):
        return mask[0] if self.conditional and isinstance(mask, list | tuple) else mask

    def compute_output_shape(self, input_shape):
        return input_shape[0] if self.conditional else super().compute_output_shape(input_shape)

    def get_config(self):
        config = {**super().get_config(), "conditional": self.conditional}
        config.pop("rms_scaling", None)
        return {
            **config,
            "zero_mean": self.zero_mean,
            "axis": -1 if config["axis"] in (-1, [-1]) else config["axis"],
            "hidden_units": self.hidden_units,
            "hidden_activation": activations.serialize(self.hidden_activation),
            "hidden_initializer": initializers.serialize(self.hidden_initializer),
        }
