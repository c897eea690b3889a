"""The contract of every public layer, loss and model, a function for each property.

Arrays for a call come as a tuple of its positional arguments, each an array or a list of arrays.
"""

import json

import keras
import numpy as np
from keras import ops, tree

from kexue_keras import backend

POLICIES = {"mixed_float16": ("float16", 2e-2), "mixed_bfloat16": ("bfloat16", 1e-1)}


def check_layer(
    layer,
    inputs,
    tmp_path,
    *,
    length_axis=1,
    without_gradient=(),
    mixed_precision=True,
    atol=1e-6,
):
    """All properties that need no mask.

    Args:
        layer: an instance; its config makes the others.
        inputs: tuple of the arrays of a call.
        tmp_path: directory for files.
        length_axis: axis of the inputs whose length may be unknown, or None.
        without_gradient: names of weights that the output does not depend on.
        mixed_precision: whether the output has the compute dtype.
        atol: absolute tolerance between two runs of the same computation.
    """
    check_config(layer)
    check_reload(layer, inputs, tmp_path, length_axis=length_axis, atol=atol)
    if length_axis is not None:
        check_unknown_length(layer, inputs, length_axis=length_axis, atol=atol)
    check_gradients(layer, inputs, without_gradient=without_gradient)
    if mixed_precision:
        check_mixed_precision(layer, inputs)


def check_config(thing):
    """`get_config` survives JSON, and an instance made from it has the same config."""
    config = thing.get_config()
    text = json.dumps(config)
    again = type(thing).from_config(json.loads(text))
    assert json.dumps(again.get_config()) == text
    assert json.loads(json.dumps(again.get_config())) == json.loads(text)


def check_serialization(thing):
    """The object is registered: Keras makes it anew from JSON without `custom_objects`."""
    text = json.dumps(keras.saving.serialize_keras_object(thing))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is type(thing)
    assert again.get_config() == thing.get_config()
    return again


def check_reload(layer, inputs, tmp_path, length_axis=1, atol=1e-6):
    """A model with the layer reloads from `.keras` without `custom_objects`, with equal output."""
    layer = copy(layer)
    model = functional(layer, inputs, length_axis)
    perturb(layer)
    path = tmp_path / f"{type(layer).__name__}.keras"
    model.save(path)
    reloaded = keras.saving.load_model(path)
    flat = tree.flatten(inputs)
    assert_close(compute(reloaded, flat), compute(model, flat), atol=atol)
    assert [w.path for w in reloaded.weights] == [w.path for w in model.weights]


def check_unknown_length(layer, inputs, length_axis=1, atol=1e-6):
    """A model built with an unknown length takes inputs shorter than those it was tried with."""
    layer = copy(layer)
    model = functional(layer, inputs, length_axis)
    perturb(layer)
    length = min(x.shape[length_axis] for x in tree.flatten(inputs))
    cut = tree.map_structure(lambda x: np.take(x, range(length - 1), length_axis), inputs)
    assert_close(compute(model, tree.flatten(cut)), compute(layer, *cut), atol=atol)


def check_gradients(layer, inputs, without_gradient=()):
    """Gradients by every trainable weight are finite and, where expected, not all zero."""
    layer = copy(layer)
    build(layer, inputs)
    perturb(layer)
    variables = layer.trainable_variables

    def objective():
        outputs = tree.flatten(layer(*inputs))
        weights = [np.random.default_rng(i).normal(size=x.shape) for i, x in enumerate(outputs)]
        pairs = zip(outputs, weights, strict=True)
        return sum(ops.sum(ops.cast(x, "float32") * w.astype("float32")) for x, w in pairs)

    gradients = compile(lambda: backend.value_and_grad(objective, variables)()[1], variables)()
    for variable, gradient in zip(variables, gradients, strict=True):
        gradient = to_numpy(gradient)
        assert gradient.shape == tuple(variable.shape), variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert gradient.any() or variable.name in without_gradient, variable.path


def check_mixed_precision(layer, inputs):
    """The output has the compute dtype and is close to float32's; weights stay float32."""
    exact = copy(layer)
    build(exact, inputs)
    perturb(exact)
    expected = compute(exact, *inputs)
    for policy, (dtype, tolerance) in POLICIES.items():
        low = type(layer).from_config({**layer.get_config(), "dtype": policy})
        build(low, inputs)
        low.set_weights(exact.get_weights())
        found = compute(low, *inputs)
        for x in tree.flatten(found):
            assert keras.backend.standardize_dtype(x.dtype) == dtype, policy
        for weight in low.weights:
            assert keras.backend.standardize_dtype(weight.dtype) == "float32", weight.path
        found = tree.map_structure(lambda x: to_numpy(x).astype("float32"), found)
        scale = max(1.0, max(np.abs(to_numpy(x)).max() for x in tree.flatten(expected)))
        assert_close(found, expected, atol=tolerance * scale)


def check_padding(run, inputs, pad, length, atol=1e-6):
    """What stands before the padding does not change when padding is added, or what it holds.

    Args:
        run: callable of the arrays to an output `(batch, length, ...)` or `(batch, ...)`.
        inputs: arrays without padding.
        pad: callable `(inputs, amount, fill)` to the arrays with `amount` padded places, whose
            hidden content is made from the number `fill`.
        length: number of places of `inputs`, or None for an output without a length axis.
        atol: absolute tolerance.
    """
    expected = run(*inputs)
    for amount in (1, 3):
        for fill in (0, 1, 7):
            found = run(*pad(inputs, amount, fill))
            cut = (lambda x: x) if length is None else (lambda x: x[:, :length])
            assert_close(tree.map_structure(cut, found), expected, atol=atol)


def functional(layer, inputs, length_axis=1):
    """A functional model of one layer whose inputs have an unknown batch size and length."""

    def symbolic(x):
        shape = list(x.shape)
        if length_axis is not None and len(shape) > length_axis:
            shape[length_axis] = None
        return keras.Input(shape[1:], dtype=str(x.dtype))

    symbols = tree.map_structure(symbolic, inputs)
    return keras.Model(tree.flatten(symbols), layer(*symbols))


def compile(function, variables):
    """`function` as one program on JAX, where every operation by itself is compiled on first use;
    on TensorFlow the function itself."""
    return backend.jit(function, variables) if keras.backend.backend() == "jax" else function


def compute(layer, *inputs):
    """The output of a layer or model."""
    build(layer, inputs)
    return compile(lambda *inputs: layer(*inputs), layer.variables)(*inputs)


def build(layer, inputs):
    """Makes the weights of a layer."""
    if not layer.built:
        functional(layer, inputs, None)


def copy(layer):
    """A fresh instance, as a layer may be built once only."""
    return type(layer).from_config(json.loads(json.dumps(layer.get_config())))


def perturb(layer, seed=0):
    """Random values for every weight, gains around 1, so that zeros and ones hide nothing."""
    generator = np.random.default_rng(seed)
    for weight in layer.trainable_weights:
        noise = generator.normal(weight.name == "gamma", 0.5, weight.shape)
        weight.assign(noise.astype("float32"))


def to_numpy(x):
    """A NumPy array of a tensor, a variable or an array."""
    return ops.convert_to_numpy(x)


def assert_close(found, expected, rtol=1e-5, atol=1e-6):
    """Compares tensors and arrays, also nested ones."""
    found, expected = tree.flatten(found), tree.flatten(expected)
    assert len(found) == len(expected)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(to_numpy(x), to_numpy(y), rtol=rtol, atol=atol)
