"""How fast the gradient of a recurrent layer vanishes or explodes: its norm by lag."""

import functools
import weakref

import keras
import numpy as np
from keras import ops

from kexue_keras import backend
from kexue_keras.analysis.spectral_norms import spectral_norms
from kexue_keras.layers import OutputResetGRUCell

# of a layer, by state and norm
_programs = weakref.WeakKeyDictionary()

_CELLS_WITH_MEMORY = (keras.layers.LSTMCell, OutputResetGRUCell)


def recurrent_gradient_norms(layer, inputs, state="h", norm="spectral", initial_state=None):
    """Norms of the Jacobians `d h_T / d h_t` of a recurrent layer, for every lag `T - t`.

    By the chain rule `d h_T / d h_t` is the product of the Jacobians of the steps between, and the
    gradient of what comes out of the layer by its weights is a sum over `t` of terms with this
    factor: where it is near zero, step `t` has no say in training; where it is huge, training
    jumps. The cell is stepped, so whatever follows Keras's protocol `cell(x, states) -> (output,
    states)` will do, and no fused kernel comes between. The rows of the product are pulled back
    through one step after another, exactly: work and memory are those of one backward pass with
    `units` gradients for each sample, and do not grow with the square of the length. It is one
    compiled program, which is kept for the layer as Keras keeps that of `predict`. The product is
    rescaled at every step, so that norms far below the smallest number of float32, or above the
    largest, are right, too.

    Args:
        layer: `keras.layers.SimpleRNN`, `LSTM`, `GRU`, or `keras.layers.RNN` of one cell whose
            states are vectors, in inference (no dropout). Each sample is worked on by itself.
        inputs: floating `(batch, length, features)`; all steps count, there is no mask.
        state: "h", the first state, while other states of the same step stay as they are;
            "all", all states, put side by side, which is by what the gradient of a cell with two
            states really travels;
            "c", the article's way for cells with a memory `c` and an output `h = gate * f(c)`, the
            LSTM and `layers.OutputResetGRUCell`: `d c_T / d c_t`, where `h_t` follows `c_t` while
            the gate of step `t` stays as it is.
        norm: "spectral", the largest singular value: what a gradient is multiplied by at most; or
            "frobenius", the root of the sum of squares.
        initial_state: list of `(batch, size)`, or one array for cells of one state; None: zeros, or
            what the cell begins with.

    Returns:
        NumPy array of float64, `(batch, length)`: `[:, k]` is the norm for the lag `k`, from 0 (of
        the identity; for "h", "c" and the spectral norm 1) to `length - 1`, which is by the state
        after the first step.

    Raises:
        ValueError: if `layer` is no such layer, or another argument is not as above.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import analysis
    >>> layer = keras.layers.SimpleRNN(2, "linear", recurrent_initializer=lambda *_, **__: 0.5 *
    ...     keras.ops.eye(2))
    >>> analysis.recurrent_gradient_norms(layer, np.ones((1, 4, 3), "float32")).round(3).tolist()
    [[1.0, 0.5, 0.25, 0.125]]

    Reference: https://kexue.fm/archives/7888
    """
    if state not in ("h", "c", "all"):
        raise ValueError(f"`state` must be 'h', 'c' or 'all'. Received: {state!r}")
    if norm not in ("spectral", "frobenius"):
        raise ValueError(f"`norm` must be 'spectral' or 'frobenius'. Received: {norm!r}")
    cell = getattr(layer, "cell", None)
    if not isinstance(layer, keras.layers.RNN) or isinstance(cell, keras.layers.StackedRNNCells):
        raise ValueError(
            "`layer` must be a recurrent layer of one cell, as SimpleRNN, LSTM, GRU or RNN(cell). "
            f"Received: {layer}"
        )
    if state == "c" and not isinstance(cell, _CELLS_WITH_MEMORY):
        raise ValueError(
            "`state` 'c' is for LSTM cells and `layers.OutputResetGRUCell`. "
            f"Received: a {type(cell).__name__}"
        )
    dtype = keras.backend.result_type(cell.compute_dtype, "float32")
    inputs = ops.convert_to_tensor(inputs, dtype)
    if len(inputs.shape) != 3 or not inputs.shape[1]:
        raise ValueError(
            "`inputs` must have the shape (batch, length, features). "
            f"Received: {tuple(inputs.shape)}"
        )
    if not layer.built:
        layer.build(inputs.shape)
    states = _states(layer, inputs.shape[0], initial_state, dtype)
    if layer.go_backwards:
        inputs = ops.flip(inputs, axis=1)
    programs = _programs.setdefault(layer, {})
    if (state, norm) not in programs:
        # it holds the cell, but not the layer, which would stay in the dictionary for ever
        program = functools.partial(_norms, cell, state, norm)
        programs[state, norm] = backend.jit(program, layer.variables)
    relative, logarithm = map(ops.convert_to_numpy, programs[state, norm](inputs, states))
    with np.errstate(over="ignore"):
        return (relative * np.exp(logarithm.astype("float64"))).T


def _states(layer, batch, given, dtype):
    """The states to begin with, a list of matrices."""
    states = layer.get_initial_state(batch) if given is None else given
    states = list(states) if isinstance(states, (list, tuple)) else [states]
    states = [ops.convert_to_tensor(x, dtype) for x in states]
    shapes = [tuple(x.shape) for x in states]
    expected = [(batch, size) for size in layer.state_size]
    if shapes != expected:
        name = "layer" if given is None else "initial_state"
        raise ValueError(f"`{name}` must have states of the shapes {expected}. Received: {shapes}")
    return states


def _norms(cell, state, norm, inputs, states):
    """Norms of the rescaled products and the logarithms of their scales, `(length, batch)`."""
    batch, length, _ = inputs.shape
    sizes = [x.shape[-1] for x in states]
    cuts = np.cumsum(sizes)[:-1].tolist()
    xs = ops.swapaxes(inputs, 0, 1)
    start = ops.concatenate(states, axis=-1)
    size = sizes[0] if state == "h" else sizes[-1] if state == "c" else sum(sizes)
    first_row = sizes[0] if state == "c" else 0

    def step(x, s):
        """All states, side by side, after a step."""
        _forget_dropout(cell)
        with backend.undone():
            _, new = cell(x, ops.split(s, cuts, axis=-1) if cuts else [s])
        _forget_dropout(cell)
        new = list(new) if isinstance(new, (list, tuple)) else [new]
        return ops.concatenate([ops.cast(x, start.dtype) for x in new], axis=-1)

    def forward(t, history):
        new = step(xs[t], history[t])
        return ops.slice_update(history, (t + 1, 0, 0), new[None])

    history = ops.concatenate([start[None], ops.zeros((length, *start.shape), start.dtype)])
    # s_0, s_1 ... s_length
    history = ops.fori_loop(0, length, forward, history)
    slopes = _slopes(cell, xs, history, cuts) if state == "c" else None

    def columns(product, t):
        """Of the product's columns, those by which is differentiated at step t."""
        if state == "c":
            h, c = ops.split(product, cuts, axis=-1)
            return h * slopes[t][:, None] + c
        return product[..., :size]

    def backward(lag, carry):
        product, logarithm, norms, logarithms = carry
        t = length - 1 - lag  # the product is d s_length / d s_(t + 1)
        wanted = columns(product, t)
        value = spectral_norms(wanted) if norm == "spectral" else _frobenius(wanted)
        norms = ops.slice_update(norms, (lag, 0), value[None])
        logarithms = ops.slice_update(logarithms, (lag, 0), logarithm[None])
        x, s = (ops.repeat(x, size, axis=0) for x in (xs[t], history[t]))
        rows = ops.reshape(product, (batch * size, sum(sizes)))
        one_step = functools.partial(step, x)
        _, (rows,) = backend.vector_jacobian_product(one_step, [s], rows)
        product = ops.reshape(rows, (batch, size, sum(sizes)))
        scale = _frobenius(product)
        scale = ops.where(scale == 0, ops.ones_like(scale), scale)
        return product / scale[:, None, None], logarithm + ops.log(scale), norms, logarithms

    rows = np.eye(sum(sizes))[first_row : first_row + size]
    product = ops.convert_to_tensor(np.repeat(rows[None], batch, axis=0), start.dtype)
    nothing = ops.zeros((length, batch), start.dtype)
    carry = product, nothing[0], nothing, nothing
    return ops.fori_loop(0, length, backward, carry)[2:]


def _forget_dropout(cell):
    """Keras's cells keep dropout masks for the next step; `SimpleRNN`'s draws them in inference
    too, without using them."""
    for name in ("reset_dropout_mask", "reset_recurrent_dropout_mask"):
        getattr(cell, name, lambda: None)()


def _slopes(cell, xs, history, cuts):
    """`d h / d c` of all steps at fixed output gates, `(length, batch, units)`."""
    h_before = ops.split(history[:-1], cuts, axis=-1)[0]
    c = ops.split(history[1:], cuts, axis=-1)[1]
    xs, h_before, c = (ops.reshape(x, (-1, x.shape[-1])) for x in (xs, h_before, c))
    if isinstance(cell, OutputResetGRUCell):
        slopes = ops.cast(cell.output_gate(xs, h_before), c.dtype)
    else:
        columns = slice(3 * cell.units, None)
        gate = ops.matmul(xs, cell.kernel[:, columns])
        gate = gate + ops.matmul(h_before, cell.recurrent_kernel[:, columns])
        gate = gate if cell.bias is None else gate + cell.bias[columns]
        gate = cell.recurrent_activation(gate)
        _, (slopes,) = backend.vector_jacobian_product(cell.activation, [c], gate)
    return ops.reshape(slopes, (*history[1:].shape[:2], cell.units))


def _frobenius(matrices):
    """By way of the largest entry, whose square alone would not do."""
    largest = ops.max(ops.abs(matrices), axis=(-2, -1))
    largest = ops.where(largest == 0, ops.ones_like(largest), largest)
    squares = ops.square(matrices / largest[..., None, None])
    return largest * ops.sqrt(ops.sum(squares, axis=(-2, -1)))
