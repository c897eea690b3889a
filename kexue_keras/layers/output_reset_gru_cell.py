"""A gated recurrent unit whose reset gate stands at the output."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kexue_keras")
class OutputResetGRUCell(keras.layers.GRUCell):
    """The article's cell between GRU and LSTM: its memory is mixed as a GRU's, and gated on output.

    Formulas, for the states `h` and `c` before a step (`'`) and after it:

        z = sigmoid(W_z x + U_z h' + b_z)
        r = sigmoid(W_r x + U_r h' + b_r)
        chat = tanh(W x + U h' + b)
        c = (1 - z) c' + z chat
        h = r c

    A GRU multiplies `h'` by `r` inside the tanh, so that a step has two products of matrices in a
    row, and the derivative of one step has both. Here there is one, as in an LSTM, and `c` stays in
    (-1, 1) if it starts there, as in a GRU. With `r = 1` and a constant `z` that `h` does not
    change it is a leaky integrator of `chat`; with `z` as one too it is a `SimpleRNN`.
    `z` is the article's; Keras's GRU has `1 - z` in its place.

    Args:
        units: size of `h` and of `c`.
        activation: of `chat`.
        recurrent_activation: of the two gates.
        kwargs: the other arguments of `keras.layers.GRUCell`, `use_bias`, `kernel_initializer`,
            `recurrent_initializer`, `bias_initializer`, regularizers and constraints, `dropout`,
            `recurrent_dropout`, `seed`, all but `reset_after`. The columns of `kernel`,
            `recurrent_kernel` and `bias` are those of z, r and chat, in this order.

    Input shape: a step `(batch, features)` and the states `[h, c]`, each `(batch, units)`.

    Output shape: `h`, `(batch, units)`, and the new states `[h, c]`.

    Masking: that of `keras.layers.RNN`, in which the cell is used.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import layers
    >>> layer = keras.layers.RNN(layers.OutputResetGRUCell(4), return_sequences=True)
    >>> layer(np.zeros((2, 5, 3), "float32")).shape == (2, 5, 4)
    True

    Reference: https://kexue.fm/archives/7888; Cho et al. 2014, https://arxiv.org/abs/1406.1078, for
    the GRU
    """

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", **kwargs):
        if "reset_after" in kwargs:
            raise ValueError(
                "`reset_after` is no argument of this cell, whose reset gate stands at the output. "
                f"Received: {kwargs['reset_after']}"
            )
        super().__init__(units, activation, recurrent_activation, reset_after=False, **kwargs)
        self.state_size = [units, units]
        self.dropout_mask_count = 3

    def call(self, inputs, states, training=False):
        h, c = states
        z, r, chat = ops.split(self._pre_activations(inputs, h, training), 3, axis=-1)
        z, r = self.recurrent_activation(z), self.recurrent_activation(r)
        c = (1 - z) * c + z * self.activation(chat)
        h = r * c
        return h, [h, c]

    def output_gate(self, inputs, h):
        """The gate `r` of a step, of its inputs and the output before it."""
        return self.recurrent_activation(
            ops.split(self._pre_activations(inputs, h, False), 3, axis=-1)[1]
        )

    def _pre_activations(self, inputs, h, training):
        masks = [None, None]
        if training and self.dropout > 0:
            masks[0] = self.get_dropout_mask(inputs)
        if training and self.recurrent_dropout > 0:
            masks[1] = self.get_recurrent_dropout_mask(h)
        kernels = self.kernel, self.recurrent_kernel
        total = sum(map(_product, (inputs, h), masks, kernels))
        return total if self.bias is None else total + self.bias

    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, n), dtype=self.compute_dtype) for n in self.state_size]

    def get_config(self):
        config = super().get_config()
        del config["reset_after"]
        return config


def _product(x, masks, kernel):
    """`x` by the kernel of z, r and chat; with a dropout mask for each of the three."""
    if masks is None:
        return ops.matmul(x, kernel)
    kernels = ops.split(kernel, 3, axis=-1)
    parts = [ops.matmul(x * mask, k) for mask, k in zip(masks, kernels, strict=True)]
    return ops.concatenate(parts, axis=-1)
