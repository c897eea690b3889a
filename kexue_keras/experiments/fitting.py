"""What the recipes that compare methods share: training to a rate of zero, and beginning again.

Example:

>>> import keras, numpy as np
>>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
>>> model.compile("sgd", "mse")
>>> start = Snapshot(model)
>>> before = model.get_weights()
>>> _ = model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
>>> start.restore(np.random.default_rng(0))
>>> all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before))
True
"""

import sys

import keras
import numpy as np
from keras import ops

from kexue_keras import backend
from kexue_keras.tokenizers import Tokenizer
from kexue_keras.tokenizers.vocabulary import check_vocabulary


def load_tokenizer(options):
    """The tokenizer of a pretrained BERT.

    Args:
        options: anything with `dict_path` and `config_path`.

    Raises:
        ValueError: the two files have different numbers of tokens.
    """
    check_vocabulary(options.dict_path, options.config_path)
    return Tokenizer(options.dict_path)


class Snapshot:
    """The weights of a compiled model, from which many trainings begin.

    A model that is compiled once and restored is much quicker to train again than one built anew.

    Args:
        model: compiled; its weights and its optimizer's state now are those that `restore` brings
            back.
    """

    def __init__(self, model):
        model.optimizer.build(model.trainable_variables)
        self.model = model
        self._values = _values(model)
        self._optimizer_values = _values(model.optimizer)

    def restore(self, rng):
        """Brings back the weights and the optimizer's state.

        Args:
            rng: `numpy.random.Generator` that seeds the model's own random generators (dropout).
        """
        for variable, value in zip(self.model.variables, self._values, strict=True):
            if variable.name == "seed_generator_state":
                value = rng.integers(0, 1 << 31, value.shape)
            variable.assign(value)
        variables = self.model.optimizer.variables
        for variable, value in zip(variables, self._optimizer_values, strict=True):
            variable.assign(value)


def _values(owner):
    return [np.array(ops.convert_to_numpy(v.value)) for v in owner.variables]


def fit_to_zero_rate(model, loss, batches, epochs, learning_rate, clipnorm=None):
    """Compiles and trains a model: Adam, its rate falling to zero in a straight line.

    The last weights count, so that no held-out set is looked at.

    Args:
        model: a Keras model.
        loss: its loss.
        batches: `datasets.Batches`.
        epochs: passes over them.
        learning_rate: the first rate.
        clipnorm: largest norm of a weight's gradient, or None.
    """
    rate = keras.optimizers.schedules.PolynomialDecay(
        learning_rate, epochs * len(batches), end_learning_rate=0.0
    )
    optimizer = keras.optimizers.Adam(rate, clipnorm=clipnorm)
    model.compile(optimizer, loss, jit_compile=backend.train_with_xla())
    model.fit(
        batches,
        epochs=epochs,
        shuffle=False,
        callbacks=[batches.callback()],
        verbose=1 if sys.stdout.isatty() else 2,
    )
