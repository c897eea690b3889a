"""`K`: what Keras 2's backend functions gave."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops

from kexue_keras.compat import keras_backend as K

X = np.random.default_rng(0).uniform(0.1, 0.9, size=(2, 3, 4)).astype("float32")
TENSOR = ops.convert_to_tensor(X)


def same(found, expected):
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5)


def test_shapes():
    assert K.int_shape(TENSOR) == (2, 3, 4) and K.ndim(TENSOR) == 3
    assert K.dtype(TENSOR) == "float32"
    assert K.prod(K.shape(TENSOR)[1:]) == 12
    assert K.reshape(TENSOR, (2, -1)).shape == (2, 12)
    assert K.reshape(TENSOR, (2, -1), 2).shape == (2, 3, 2, 2)
    assert K.flatten(TENSOR, 1).shape == (2, 12) and K.flatten(TENSOR, -2).shape == (2, 12)
    assert K.flatten(TENSOR).shape == (24,)
    assert K.expand_dims(TENSOR).shape == (2, 3, 4, 1)
    assert K.repeat(TENSOR[:, 0], 5).shape == (2, 5, 4)
    assert K.temporal_padding(TENSOR, (0, 2)).shape == (2, 5, 4)
    assert K.constant(1.0, shape=(2, 2)).shape == (2, 2)


def test_defaults_of_keras_2():
    same(K.concatenate([TENSOR, TENSOR]), np.concatenate([X, X], -1))
    same(K.argmax(TENSOR), X.argmax(-1))
    same(K.argmin(TENSOR), X.argmin(-1))
    same(K.sum(TENSOR, 2), X.sum(2))
    same(K.mean(TENSOR, axis=[1, 2]), X.mean((1, 2)))
    same(K.pow(TENSOR, 2), X**2)
    same(K.gather(TENSOR, np.array([1.0])), X[[1]])
    same(K.where(np.array([[[1.0]], [[0.0]]]), TENSOR, 0.0), X * [[[1]], [[0]]])
    same(K.switch(TENSOR > 0.5, TENSOR, 0 * TENSOR), X * (X > 0.5))
    assert float(K.switch(True, lambda: 1.0, lambda: 2.0)) == 1
    same(K.permute_dimensions(TENSOR, (0, 2, 1)), X.transpose(0, 2, 1))
    same(K.l2_normalize(TENSOR, -1), X / np.linalg.norm(X, axis=-1, keepdims=True))
    same(K.repeat_elements(TENSOR, 2, 1), X.repeat(2, 1))


def test_crossentropies():
    p = X / X.sum(-1, keepdims=True)
    labels = np.array([[0, 1, 2], [3, 2, 1]])
    expected = -np.log(np.take_along_axis(p, labels[..., None], -1))[..., 0]
    for target in (labels, labels.astype("float32"), labels[..., None]):
        same(K.sparse_categorical_crossentropy(target, ops.convert_to_tensor(p)), expected)
    logits = ops.log(ops.convert_to_tensor(p))
    same(K.sparse_categorical_crossentropy(labels, logits, from_logits=True), expected)
    same(K.categorical_crossentropy(np.eye(4)[labels], ops.convert_to_tensor(p)), expected)
    targets = (X > 0.5).astype("int32")
    found = K.binary_crossentropy(targets, TENSOR)
    same(found, -np.where(targets, np.log(X), np.log(1 - X)))
    found = K.binary_crossentropy(targets, ops.log(TENSOR / (1 - TENSOR)), from_logits=True)
    same(found, -np.where(targets, np.log(X), np.log(1 - X)))
    same(K.binary_crossentropy(np.ones(1), ops.zeros(1)), [-np.log(2e-7)])


def test_variables():
    variable = K.variable([1.0, 2.0])
    K.set_value(variable, [3.0, 4.0])
    assert K.eval(variable).tolist() == [3, 4] and K.get_value(variable).tolist() == [3, 4]
    K.update_add(variable, 1.0)
    K.update_sub(variable, 2.0)
    assert K.batch_get_value([variable])[0].tolist() == [2, 3]
    K.batch_set_value([(variable, [0.0, 0.0])])
    assert K.eval(K.update(variable, [5.0, 6.0])).tolist() == [5, 6]


def test_random_numbers():
    assert set(np.unique(to_numpy(K.random_binomial((50,), p=0.5)))) == {0, 1}
    assert 0 <= to_numpy(K.random_uniform((9,))).min() and K.random_normal((2, 3)).shape == (2, 3)
    assert K.dropout(TENSOR, 0.5).shape == (2, 3, 4)


def test_names_of_keras():
    assert K.floatx() == keras.config.floatx() and K.epsilon() == keras.config.epsilon()
    assert K.stop_gradient is ops.stop_gradient and K.cast is ops.cast
    with pytest.raises(AttributeError, match="`K.nobody` is not in Keras 3"):
        K.nobody  # noqa: B018
    for name in ("gradients", "function", "in_train_phase", "learning_phase"):
        with pytest.raises(AttributeError, match=f"`K.{name}` is not in Keras 3. Keras 3 has no"):
            getattr(K, name)
