"""The gradient by the inputs is bounded by the gradient by the parameters: both sides."""

import functools
import weakref

import keras
import numpy as np
from keras import ops

from kexue_keras import backend
from kexue_keras.analysis.spectral_norms import spectral_norms

# of a model: the latest target and its program
_programs = weakref.WeakKeyDictionary()

# layers without weights that work on each sample by itself
WITHOUT_WEIGHTS = (
    keras.layers.Activation,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.Flatten,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.Softmax,
)


def gradient_penalty_bound(model, x, target=None):
    """Both sides of the article's inequality for a network of dense layers, for every sample.

    Dense layer `t` has the input `h_t` (`h_1` is `x`), and `f` is any scalar of the last layer:

        |grad_x f|^2  sum_t (1 + |h_t|^2) / (|W_t|^2 |grad_x h_t|^2)  <=  |grad_theta f|^2

    with spectral norms of matrices, and the gradient by all kernels and biases. It holds because
    `grad_x f = (grad_x h_t)^T W_t d` for the gradient `d` by what `W_t` gives, whose product with
    `h_t` and with 1 is the gradient by `W_t` and its bias. So a model whose loss hardly depends on
    the parameters around it (stochastic gradient descent looks for those) depends little on its
    inputs, too, as long as the norms of `W_t` do not grow. A layer without a bias has no 1 on
    either side; a layer whose factor is zero adds nothing to the left side.

    It is one compiled program, which is kept for the model and its latest `target`: to measure
    often, take the same callable again.

    Args:
        model: a Keras model, `Sequential` or functional, that is a chain of `Dense` with any
            activations, of layers of activations, `Flatten`, `Rescaling` and dropout, in inference.
            Kernels that are not trained count as well.
        x: array or tensor `(batch, ...)`.
        target: the scalar `f`: None, the sum of the outputs; the index of an output; or a callable
            of the model's output `(batch, outputs)` to one value a sample `(batch,)`, such as a
            loss for given labels.

    Returns:
        Two NumPy arrays of float64, `(batch,)`: the left and the right side; equal, but for the
        rounding of float32, for one layer without activation whose `W` is orthogonal times a
        number.

    Raises:
        ValueError: if the model has other layers, whose names are given, or is no chain; or
            `target` gives no scalars.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import analysis
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "tanh"),
    ...     keras.layers.Dense(1)])
    >>> left, right = analysis.gradient_penalty_bound(model, np.ones((5, 3), "float32"))
    >>> left.shape == (5,) and bool((left <= right).all())
    True

    Reference: https://kexue.fm/archives/8796; https://arxiv.org/abs/2111.15090
    """
    before, blocks = _blocks(model)
    if not (target is None or callable(target)):
        outputs = blocks[-1][0].units
        if isinstance(target, bool) or not isinstance(target, (int, np.integer)):
            raise ValueError(f"`target` must be None, an index or a callable. Received: {target!r}")
        if not -outputs <= target < outputs:
            raise ValueError(f"`target` must be an index of {outputs} outputs. Received: {target}")
    known, program = _programs.get(model, (None, None))
    if program is None or known != target:
        # it holds the layers, but not the model, which would stay in the dictionary for ever
        program = backend.jit(functools.partial(_sides, before, blocks, target), model.variables)
        _programs[model] = target, program
    sides = program(ops.convert_to_tensor(x, "float32"))
    return tuple(ops.convert_to_numpy(side).astype("float64") for side in sides)


def _blocks(model):
    """The layers before the first dense one, and `(dense layer, layers behind it)` of each."""
    before, blocks = [], []
    refused = []
    for layer in _chain(model):
        if isinstance(layer, keras.layers.Dense):
            blocks.append((layer, []))
        elif isinstance(layer, WITHOUT_WEIGHTS) and not layer.weights:
            (blocks[-1][1] if blocks else before).append(layer)
        else:
            refused.append(f"{layer.name} ({type(layer).__name__})")
    if refused:
        raise ValueError(
            "`model` must consist of dense layers and layers without weights. "
            f"Received: {', '.join(refused)}"
        )
    layers = [layer for layer, _ in blocks]
    if not layers or len(set(map(id, layers))) < len(layers):
        raise ValueError(
            "`model` must have dense layers, each used once. "
            f"Received: {[layer.name for layer in layers]}"
        )
    return before, blocks


def _chain(model):
    """The layers in their order."""
    if isinstance(model, keras.Sequential):
        found = [_chain(x) if isinstance(x, keras.Sequential) else [x] for x in model.layers]
        return [layer for layers in found for layer in layers]
    inputs, outputs = (getattr(model, name, None) for name in ("inputs", "outputs"))
    if not inputs or not outputs:
        raise ValueError(f"`model` must be a Sequential or a functional model. Received: {model}")
    layers = [x for x in model.layers if not isinstance(x, keras.layers.InputLayer)]
    tensor = inputs[0]
    for layer in layers:
        # a layer that merges has a list of inputs
        if layer.input is not tensor:
            break
        tensor = layer.output
    if len(inputs) > 1 or len(outputs) > 1 or tensor is not outputs[0]:
        raise ValueError(
            "`model` must be a chain of layers, from one input to one output. "
            f"Received: {model.name} with the layers {[layer.name for layer in layers]}"
        )
    return layers


def _apply(layers, x):
    for layer in layers:
        x = layer(x)
    return ops.cast(x, "float32")


def _sides(before, blocks, target, x):
    batch, size = x.shape[0], int(np.prod(x.shape[1:]))
    vjp = backend.vector_jacobian_product
    functions = []  # what stands behind each kernel, up to the next one
    inputs, values = [_apply(before, x)], []  # of the kernels: h_t, and what they give
    for dense, layers in blocks:
        if len(inputs[-1].shape) != 2:
            raise ValueError(
                f"`model` must give vectors to dense layers. Received: {dense.name} of an input of "
                f"shape {tuple(inputs[-1].shape)}"
            )
        functions.append(functools.partial(_behind, dense, layers))
        values.append(_affine(dense, inputs[-1]))
        inputs.append(functions[-1](values[-1]))
    f = _scalars(target)(inputs[-1])
    if tuple(f.shape) != (batch,):
        raise ValueError(
            f"`target` must give one value a sample, {(batch,)}. Received: a tensor of shape "
            f"{tuple(f.shape)}"
        )

    # gradients of f by what each kernel gives, from the last one to the first one
    _, (gradient,) = vjp(_scalars(target), inputs[-1:], ops.ones_like(f))
    gradients = []
    for (dense, _), function, value in reversed(list(zip(blocks, functions, values, strict=True))):
        _, (gradient,) = vjp(function, [value], gradient)
        gradients.insert(0, gradient)
        gradient = ops.matmul(gradient, ops.transpose(_kernel(dense)))
    _, (by_x,) = vjp(functools.partial(_apply, before), [x], gradient)

    # grad_x h_t, (batch, units, size), from the first kernel on
    jacobian = _jacobian(functools.partial(_apply, before), x)
    left, right = 0.0, 0.0
    for (dense, _), function, h, value, gradient in zip(
        blocks, functions, inputs[:-1], values, gradients, strict=True
    ):
        kernel = _kernel(dense)
        length = _squares(h) + (0.0 if dense.bias is None else 1.0)
        factor = ops.square(spectral_norms(kernel) * spectral_norms(jacobian))
        left += ops.where(factor > 0, length / ops.where(factor > 0, factor, 1.0), 0.0)
        right += length * _squares(gradient)
        step = _jacobian(function, value)
        jacobian = ops.matmul(ops.matmul(step, ops.transpose(kernel)), jacobian)
    return left * _squares(ops.reshape(by_x, (batch, size))), right


def _kernel(dense):
    return ops.cast(ops.convert_to_tensor(dense.kernel), "float32")


def _affine(dense, h):
    value = ops.matmul(h, _kernel(dense))
    return value if dense.bias is None else value + ops.cast(dense.bias, "float32")


def _behind(dense, layers, value):
    return _apply(layers, value if dense.activation is None else dense.activation(value))


def _scalars(target):
    if callable(target):
        return lambda y: ops.cast(target(y), "float32")
    return lambda y: ops.sum(y, axis=-1) if target is None else y[:, target]


def _squares(x):
    return ops.sum(ops.square(x), axis=-1)


def _jacobian(function, x):
    """Derivatives of a function of each row, `(batch, outputs, inputs)`.

    Every row is repeated for each output, and one gradient taken of all.
    """
    batch, size = x.shape[0], int(np.prod(x.shape[1:]))
    outputs = function(x).shape[-1]
    units = ops.tile(ops.eye(outputs), (batch, 1))
    _, (rows,) = backend.vector_jacobian_product(function, [ops.repeat(x, outputs, axis=0)], units)
    return ops.reshape(rows, (batch, outputs, size))
