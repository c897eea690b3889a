"""What multi-head attentions share."""

import numpy as np
import pytest
from contract import assert_close, check_config, perturb, to_numpy

from kexue_keras.layers.head_projections import HeadProjections

X = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")


def projections(heads=2, head_size=None, output_size=None, use_bias=True):
    return HeadProjections(heads, head_size, output_size, use_bias, "glorot_uniform")


@pytest.mark.parametrize("head_size, output_size", [(None, None), (4, None), (4, 7)])
def test_shapes(head_size, output_size):
    layer = projections(head_size=head_size, output_size=output_size)
    layer.build((None, None, 6), (None, None, 3))
    width = 2 * (head_size or 3)
    kernels = {name: tuple(getattr(layer, f"{name}_dense").kernel.shape)
               for name in ("query", "key", "value", "output")}  # fmt: skip
    assert kernels == {
        "query": (6, width),
        "key": (3, width),
        "value": (3, width),
        "output": (width, output_size or 6),
    }
    assert layer.compute_output_shape((None, 5, 6)) == (None, 5, output_size or 6)
    check_config(layer)


def test_merged_heads_stand_side_by_side():
    layer = projections()
    layer.build(X.shape)
    perturb(layer)
    kernel, bias = (to_numpy(w) for w in layer.output_dense.weights)
    heads = X.reshape(2, 5, 2, 3)
    assert_close(layer.merge_heads(heads), X @ kernel + bias)
    assert len(layer.trainable_weights) == 8
    without = projections(use_bias=False)
    without.build(X.shape)
    assert len(without.trainable_weights) == 4


def test_bad_sizes():
    for name in ("heads", "head_size", "output_size"):
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1. Received: 0"):
            projections(**{name: 0})
    with pytest.raises(ValueError, match="must divide the query's last axis 6. .*heads=4"):
        projections(heads=4).build((None, None, 6))
