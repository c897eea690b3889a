"""A model whose output is its weights: any function of a point as a loss."""

import keras
import numpy as np
from keras import ops

ONES = np.ones((2, 1), "float32")
HESSIAN = np.array([[2.0, 0.5], [0.5, 1.0]])
SLOPE = np.array([0.6, -0.4])


@keras.saving.register_keras_serializable(package="tests")
class Point(keras.layers.Layer):
    """Every sample's output is the point."""

    def __init__(self, values, **kwargs):
        super().__init__(**kwargs)
        self.values = list(values)

    def build(self, input_shape):
        self.point = self.add_weight(shape=(len(self.values),), name="point")
        self.point.assign(self.values)

    def call(self, x):
        return x + self.point

    def get_config(self):
        return {**super().get_config(), "values": self.values}


def point_model(*values):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Rescaling(0.0), Point(values)])
    return model


def position(model):
    return np.array(ops.convert_to_numpy(model.layers[-1].point.value), "float64")


def quadratic(y_true, y_pred):
    """SLOPE x + x HESSIAN x / 2 of the point x."""
    x = ops.mean(y_pred, 0)
    return ops.sum(x * SLOPE.astype("float32")) + 0.5 * ops.sum(
        x * ops.matmul(HESSIAN.astype("float32"), x)
    )
