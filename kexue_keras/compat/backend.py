"""bert4keras.backend: `keras`, `K` and functions of tensors."""

import keras as _keras
from keras import ops as _ops

from kexue_keras import backend as _backend
from kexue_keras.compat import keras_backend as K
from kexue_keras.compat import keras_names as keras
from kexue_keras.compat.elsewhere import refuse
from kexue_keras.compat.keras_backend import flatten, reshape, where
from kexue_keras.compat.settings import SETTINGS, set_gelu
from kexue_keras.losses import (
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)
from kexue_keras.optimizers import PiecewiseLinear as _PiecewiseLinear

__all__ = [
    "K",
    "SETTINGS",
    "align",
    "batch_gather",
    "dtype",
    "flatten",
    "gelu_erf",
    "gelu_tanh",
    "get_available_gpus",
    "is_tf_keras",
    "keras",
    "leaky_relu",
    "multilabel_categorical_crossentropy",
    "piecewise_linear",
    "reshape",
    "root_mean_square",
    "search_layer",
    "sequence_masking",
    "set_gelu",
    "sparse_multilabel_categorical_crossentropy",
    "swish",
    "symbolic",
    "where",
]

is_tf_keras = True


def __getattr__(name):
    refuse("backend", name)


def get_available_gpus():
    """Names of the GPUs."""
    return [name for name in _keras.distribution.list_devices() if "gpu" in name.lower()]


def gelu_erf(x):
    """The exact GELU."""
    return _keras.activations.gelu(x, approximate=False)


def gelu_tanh(x):
    """The approximation of GELU by tanh."""
    return _keras.activations.gelu(x, approximate=True)


def swish(x):
    return _keras.activations.silu(x)


def leaky_relu(x, alpha=0.2):
    return _ops.leaky_relu(x, negative_slope=alpha)


def root_mean_square(x, axis=None, keepdims=False):
    return _ops.sqrt(_ops.mean(_ops.square(x), axis=axis, keepdims=keepdims))


def symbolic(function):
    """The function itself."""
    return function


def dtype(x):
    """Its name, or None for what has none."""
    return K.dtype(x) if hasattr(x, "dtype") else None


def piecewise_linear(t, schedule, from_zero=True):
    """The factor of step `t`, see `kexue_keras.optimizers.PiecewiseLinear`."""
    if not from_zero and 0 not in schedule:
        schedule = {0: schedule[min(schedule)], **schedule}
    return _PiecewiseLinear(1.0, schedule)(t)


def search_layer(inputs, name, exclude_from=None):
    """The layer of that name which `inputs`, a layer or the output of one, comes from, or None."""
    known = set() if exclude_from is None else exclude_from
    waiting = [inputs if isinstance(inputs, _keras.Layer) else _backend.layer_behind(inputs)]
    while waiting:
        layer = waiting.pop()
        if layer.name == name:
            return layer
        if layer in known:
            continue
        known.add(layer)
        inside = layer.layers if isinstance(layer, _keras.Model) else ()
        for found in inside:
            if found.name == name:
                return found
        waiting.extend(reversed(_backend.layers_before(layer)))
    return None


def batch_gather(params, indices):
    """`params[b, indices[b, i]]` for every row b."""
    indices = _ops.cast(indices, "int32")
    axis = len(indices.shape) - 1
    for _ in range(len(params.shape) - len(indices.shape)):
        indices = _ops.expand_dims(indices, -1)
    return _ops.take_along_axis(params, indices, axis=axis)


def align(tensor, axes, ndim=None):
    """The tensor with axis i at place `axes[i]` of `ndim`, and axes of size 1 elsewhere."""
    ndim = ndim or max(axes) + 1
    places = [axis % ndim for axis in axes]
    return tensor[tuple(slice(None) if i in places else None for i in range(ndim))]


def sequence_masking(x, mask=None, value=0, axis=None, bias=None, return_mask=False):
    """`x` with `value` where the mask `(batch, length)` along `axis` (1), or a bias, hides it."""
    if mask is not None:
        axes = axis if isinstance(axis, list) else [1 if axis is None else axis]
        parts = [align(_ops.cast(mask, "bool"), [0, a % len(x.shape)], len(x.shape)) for a in axes]
        mask = parts[0]
        for part in parts[1:]:
            mask = _ops.logical_and(mask, part)
    if bias is not None and dtype(bias) == "bool":
        mask = bias if mask is None else _ops.logical_and(mask, bias)
    elif bias is not None:
        x = x + bias
    x = x if mask is None else _ops.where(mask, x, _ops.cast(value, x.dtype))
    return (x, mask) if return_mask else x
