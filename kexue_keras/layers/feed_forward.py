"""The position-wise feed-forward layer of a transformer."""

import keras
from keras import activations, initializers, layers


@keras.saving.register_keras_serializable(package="kexue_keras")
class FeedForward(layers.Layer):
    """`activation(x W1 + b1) W2 + b2`; or gated, `(a(x W1 + b1) * g(x V + c)) W2 + b2`.

    Args:
        units: size of the hidden layer.
        activation: name or callable; "gelu" is the exact one, `x Phi(x)`. A list `[a, g]` of two
            makes a gated linear unit, as `["gelu", "linear"]` of T5 1.1.
        use_bias: whether all kernels have a bias.
        kernel_initializer: initializer of all kernels.

    Input and output shape: `(..., features)`.

    Masking: passes a mask through.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> tuple(layers.FeedForward(16)(np.ones((2, 3, 4), "float32")).shape)
    (2, 3, 4)

    Reference: the gate: Shazeer 2020, https://arxiv.org/abs/2002.05202
    """

    def __init__(
        self,
        units,
        activation="gelu",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = units
        gated = isinstance(activation, list | tuple)
        if gated and len(activation) != 2:
            raise ValueError(
                f"`activation` must be one or a list of two activations. Received: {activation}"
            )
        self.activation, self.gate_activation = (
            map(exact_activation, activation) if gated else (exact_activation(activation), None)
        )
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.supports_masking = True

    def build(self, input_shape):
        def dense(units, activation, shape, name):
            layer = layers.Dense(
                units,
                activation=activation,
                use_bias=self.use_bias,
                kernel_initializer=self.kernel_initializer.clone(),
                dtype=self.dtype_policy,
                name=name,
            )
            layer.build(shape)
            return layer

        hidden_shape = (*input_shape[:-1], self.units)
        self.intermediate_dense = dense(self.units, self.activation, input_shape, "intermediate")
        self.gate_dense = None
        if self.gate_activation is not None:
            self.gate_dense = dense(self.units, self.gate_activation, input_shape, "gate")
        self.output_dense = dense(input_shape[-1], None, hidden_shape, "output")

    def call(self, inputs):
        x = self.intermediate_dense(inputs)
        return self.output_dense(x if self.gate_dense is None else x * self.gate_dense(inputs))

    def bert4keras_weights(self):
        """bert4keras's names and this layer's variables, in bert4keras's order."""
        denses = {
            "i0_dense": self.intermediate_dense,
            "i1_dense": self.gate_dense,
            "o_dense": self.output_dense,
        }
        made = {name: dense for name, dense in denses.items() if dense is not None}
        return [(f"{name}/{v.name}", v) for name, dense in made.items() for v in dense.weights]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        activation = activations.serialize(self.activation)
        if self.gate_activation is not None:
            activation = [activation, activations.serialize(self.gate_activation)]
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activation,
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="kexue_keras")
def gelu_tanh(x):
    """The tanh approximation of GELU that Google's first BERT code used."""
    return keras.activations.gelu(x, approximate=True)


def exact_activation(identifier):
    """Like `keras.activations.get`, and "gelu_new" and "gelu_tanh" for the approximation of GELU,
    "gelu_erf" for the exact one."""
    if identifier in ("gelu_new", "gelu_tanh"):
        return gelu_tanh
    if identifier == "gelu_erf":
        return activations.get("gelu")
    return activations.get(identifier)
