"""`K`: Keras 2's backend functions, as functions of `keras.ops`.

A name that is not in this file is looked up in `keras.ops`, then in `keras.backend`.
"""

import builtins
import math

import keras
from keras import ops

from kexue_keras.compat.elsewhere import ELSEWHERE, refuse

floatx, epsilon = keras.config.floatx, keras.config.epsilon
set_floatx, set_epsilon = keras.config.set_floatx, keras.config.set_epsilon
image_data_format = keras.config.image_data_format
clear_session = keras.utils.clear_session
pow, equal, not_equal = ops.power, ops.equal, ops.not_equal
permute_dimensions = ops.transpose
batch_flatten = keras.layers.Flatten()


def int_shape(x):
    """Sizes, None where unknown."""
    return tuple(x.shape)


def ndim(x):
    return len(x.shape)


def dtype(x):
    return keras.backend.standardize_dtype(x.dtype)


def eval(x):
    """A NumPy array of a variable or tensor."""
    return ops.convert_to_numpy(x)


get_value = eval


def set_value(x, value):
    x.assign(value)


def batch_get_value(variables):
    return [eval(x) for x in variables]


def batch_set_value(pairs):
    for x, value in pairs:
        x.assign(value)


def variable(value, dtype=None, name=None):
    return keras.Variable(value, dtype=dtype or floatx(), name=name)


def constant(value, dtype=None, shape=None, name=None):
    value = ops.convert_to_tensor(value, dtype=dtype or floatx())
    return value if shape is None else ops.broadcast_to(value, shape)


def update(x, value):
    x.assign(value)
    return x


def update_add(x, value):
    x.assign(x + value)
    return x


def update_sub(x, value):
    x.assign(x - value)
    return x


def prod(x, axis=None, keepdims=False):
    """Of a part of `K.shape`, an integer."""
    if isinstance(x, list | tuple) and builtins.all(isinstance(size, int) for size in x):
        return math.prod(x)
    return ops.prod(ops.stack(x) if isinstance(x, tuple) else x, axis=axis, keepdims=keepdims)


def concatenate(tensors, axis=-1):
    return ops.concatenate(tensors, axis=axis)


def expand_dims(x, axis=-1):
    return ops.expand_dims(x, axis)


def argmax(x, axis=-1):
    return ops.argmax(x, axis=axis)


def argmin(x, axis=-1):
    return ops.argmin(x, axis=axis)


def gather(x, indices):
    return ops.take(x, ops.cast(indices, "int32"), axis=0)


def repeat(x, n):
    return ops.repeat(ops.expand_dims(x, 1), n, axis=1)


def repeat_elements(x, rep, axis):
    return ops.repeat(x, rep, axis=axis)


def l2_normalize(x, axis=None):
    return ops.normalize(x, axis=axis)


def softmax(x, axis=-1):
    return ops.softmax(x, axis=axis)


def dot(x, y):
    return ops.dot(x, y)


def where(cond, x, y):
    """bert4keras's, with its broadcasting."""
    return ops.where(ops.cast(cond, "bool"), x, y)


def switch(condition, then_expression, else_expression):
    if callable(then_expression) or callable(else_expression):
        return ops.cond(condition, then_expression, else_expression)
    return ops.where(ops.cast(condition, "bool"), then_expression, else_expression)


def reshape(x, *shapes):
    """bert4keras's: `(x, shape)`, or `(x, shape, axis, ...)`, a new shape for each axis named."""
    if len(shapes) == 1:
        return ops.reshape(x, shapes[0])
    sizes = [[size] for size in ops.shape(x)]
    for shape, axis in zip(shapes[::2], shapes[1::2], strict=True):
        known = math.prod(size for size in shape if size != -1)
        sizes[axis] = [sizes[axis][0] // known if size == -1 else size for size in shape]
    return ops.reshape(x, [size for part in sizes for size in part])


def flatten(x, start=None, end=None):
    """bert4keras's: the axes from `start` up to `end` as one."""
    shape, start, end = ops.shape(x), start or 0, end or len(x.shape)
    start, end = start % len(shape), (end - 1) % len(shape) + 1
    return ops.reshape(x, [*shape[:start], math.prod(shape[start:end]), *shape[end:]])


def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """One value per target; targets may come as floating numbers."""
    target = ops.cast(target, "int32")
    if len(target.shape) == len(output.shape) and target.shape[-1] == 1:
        target = ops.squeeze(target, -1)
    return ops.sparse_categorical_crossentropy(target, output, from_logits=from_logits, axis=axis)


def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    target = ops.cast(target, dtype(output))
    return ops.categorical_crossentropy(target, output, from_logits=from_logits, axis=axis)


def binary_crossentropy(target, output, from_logits=False):
    """As of `tf.keras`, which adds epsilon after the probabilities are kept from 0 and 1."""
    target = ops.cast(target, dtype(output))
    if from_logits:
        return ops.binary_crossentropy(target, output, from_logits=True)
    output = ops.clip(output, epsilon(), 1 - epsilon())
    right = target * ops.log(output + epsilon())
    return -right - (1 - target) * ops.log(1 - output + epsilon())


def random_uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    return keras.random.uniform(shape, minval, maxval, dtype=dtype, seed=seed)


def random_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    return keras.random.normal(shape, mean, stddev, dtype=dtype, seed=seed)


def random_binomial(shape, p=0.0, dtype=None, seed=None):
    return keras.random.binomial(shape, 1, p, dtype=dtype, seed=seed)


random_bernoulli = random_binomial


def dropout(x, level, noise_shape=None, seed=None):
    return keras.random.dropout(x, level, noise_shape=noise_shape, seed=seed)


def temporal_padding(x, padding=(1, 1)):
    return ops.pad(x, [(0, 0), tuple(padding), *[(0, 0)] * (len(x.shape) - 2)])


def __getattr__(name):
    if name not in ELSEWHERE["keras_backend"]:
        for module in (ops, keras.backend):
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(
            f"`K.{name}` is not in Keras 3. What it has are the functions of `keras.ops`"
        )
    refuse("keras_backend", name)
