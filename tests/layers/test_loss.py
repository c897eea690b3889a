"""A loss of several inputs as a layer: its value, its masks, training, reload."""

import contract
import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops

from kexue_keras import backend
from kexue_keras.layers import Embedding, Loss

RNG = np.random.default_rng(0)
IDS = np.array([[1, 2, 3, 0], [4, 5, 0, 0], [2, 3, 4, 5]], "int32")


@keras.saving.register_keras_serializable(package="tests")
class MaskedSquares(Loss):
    """Mean of squares over the visible places of the second input."""

    def compute_loss(self, inputs, mask=None):
        target, x = inputs
        squares = ops.mean(ops.square(x - target[..., None]), axis=-1)
        visible = ops.ones_like(squares) if mask[1] is None else ops.cast(mask[1], "float32")
        return ops.sum(squares * visible) / ops.sum(visible)


def model_of(output_axis=1, mask=True, **options):
    ids, target = keras.Input((None,), dtype="int32"), keras.Input((None,))
    embedding = Embedding(6, 3, mask_zero=mask, **options)
    return keras.Model([ids, target], MaskedSquares(output_axis)([target, embedding(ids)]))


TARGET = RNG.normal(size=IDS.shape).astype("float32")


@pytest.mark.parametrize("mask", [True, False])
def test_the_loss_of_a_model_is_that_of_numpy(mask):
    model = model_of(mask=mask)
    table = to_numpy(model.weights[0])
    squares = ((table[IDS] - TARGET[..., None]) ** 2).mean(-1)
    visible = (IDS > 0) if mask else np.ones_like(IDS)
    expected = (squares * visible).sum() / visible.sum()
    model.compile("sgd", jit_compile=backend.train_with_xla())
    assert model.evaluate([IDS, TARGET], verbose=0) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(model.predict_on_batch([IDS, TARGET]), table[IDS], rtol=1e-6)


def test_it_trains_what_it_comes_from():
    model = model_of()
    optimizer = keras.optimizers.SGD(1.0)
    before = to_numpy(model.weights[0])
    model.compile(optimizer, jit_compile=backend.train_with_xla())
    model.fit([IDS, TARGET], batch_size=3, epochs=1, verbose=0)
    expected = before.copy()
    for i, target in zip(IDS.ravel(), TARGET.ravel(), strict=True):
        if i:
            expected[i] -= 2 * (before[i] - target) / 3 / (IDS > 0).sum()
    np.testing.assert_allclose(to_numpy(model.weights[0]), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("axis, shapes", [(None, 2), (0, 1), ([1], 1), ([1, 0], 2), (-1, 1)])
def test_what_comes_out(axis, shapes):
    model = model_of(axis)
    outputs = keras.tree.flatten(model.outputs)
    assert len(outputs) == shapes
    found = keras.tree.flatten(model.predict_on_batch([IDS, TARGET]))
    table = to_numpy(model.weights[0])
    values = [TARGET, table[IDS]]
    axes = range(2) if axis is None else axis if isinstance(axis, list) else [axis]
    for x, output, i in zip(found, outputs, axes, strict=True):
        np.testing.assert_allclose(x, values[i], rtol=1e-6)
        assert len(output.shape) == values[i].ndim


def test_the_mask_goes_on():
    layer, table = MaskedSquares(1), Embedding(6, 3, mask_zero=True)
    output = layer([ops.convert_to_tensor(TARGET), table(IDS)])
    np.testing.assert_array_equal(to_numpy(output._keras_mask), IDS > 0)
    assert len(layer.losses) == 1


def test_one_tensor_in():
    class Size(Loss):
        def compute_loss(self, inputs, mask=None):
            assert mask is None
            return ops.sum(ops.abs(inputs))

    layer = Size()
    np.testing.assert_allclose(to_numpy(layer(TARGET)), TARGET)
    assert float(layer.losses[0]) == pytest.approx(np.abs(TARGET).sum(), rel=1e-5)


def test_mixed_precision_computes_it_in_float32():
    model = model_of(dtype="mixed_float16")
    assert model.output.dtype == "float32"
    exact = model_of()
    exact.set_weights(model.get_weights())
    found = []
    for each in (model, exact):
        each.compile("sgd", jit_compile=backend.train_with_xla())
        found.append(each.evaluate([IDS, TARGET], verbose=0))
    assert found[0] == pytest.approx(found[1], rel=1e-2)


def test_reload(tmp_path):
    model = model_of([1, 0])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    contract.check_config(MaskedSquares([1, 0]))
    for each in (model, again):
        each.compile("sgd", jit_compile=backend.train_with_xla())
    assert again.evaluate([IDS, TARGET], verbose=0) == model.evaluate([IDS, TARGET], verbose=0)
    assert again.layers[-1].output_axis == [1, 0]


def test_what_is_refused():
    class Vector(Loss):
        def compute_loss(self, inputs, mask=None):
            return inputs[:, 0]

    with pytest.raises(ValueError, match=r"scalar. Received: a tensor of shape \(3,\)"):
        Vector()(TARGET)
    with pytest.raises(NotImplementedError, match="Loss must have a method `compute_loss`"):
        Loss()(TARGET)
    with pytest.raises(ValueError, match="2 of them. Received: 2"):
        model_of(2)
    with pytest.raises(ValueError, match="`output_axis` must be None.*Received: 'x'"):
        Loss("x")
