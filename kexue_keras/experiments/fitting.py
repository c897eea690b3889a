"""How all recipes train: Adam, one `fit`; and how many trainings begin from the same weights.

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
import time

import keras
import numpy as np
from keras import ops

from kexue_keras import backend, datasets
from kexue_keras.experiments import schedules


def compile_model(model, loss, rate, clipnorm=1.0):
    """Compiles a model: Adam, its rate a number or one of `schedules`, its gradients clipped.

    Args:
        model: a Keras model.
        loss: its loss; None for one that only predicts.
        rate: learning rate.
        clipnorm: largest norm of a weight's gradient, or None.
    """
    optimizer = keras.optimizers.Adam(rate, clipnorm=clipnorm)
    model.compile(optimizer, loss, jit_compile=backend.train_with_xla())


def fit(model, batches, epochs, initial_epoch=0, callbacks=(), verbose=None):
    """Trains a compiled model on `datasets.Batches`, in their order.

    Args:
        model: a Keras model.
        batches: `datasets.Batches`.
        epochs: the epoch to stop before, so from 0 their number.
        initial_epoch: number of epochs done before.
        callbacks: of Keras.
        verbose: as Keras's; None: a progress bar on a terminal, else a line an epoch.
    """
    if verbose is None:
        verbose = 1 if sys.stdout.isatty() else 2
    return model.fit(
        batches,
        epochs=epochs,
        initial_epoch=initial_epoch,
        shuffle=False,
        callbacks=[batches.callback(), *callbacks],
        verbose=verbose,
    )


def train_to_zero_rate(
    options,
    model,
    loss,
    samples,
    encode,
    lengths,
    seed,
    clipnorm=1.0,
    schedule=schedules.linear,
    verbose=None,
    callbacks=(),
    **more,
):
    """Compiles and trains a model: Adam, its rate falling to zero.

    The last weights count, so that no held-out set is looked at.

    Args:
        options: `options.Training`.
        model: a Keras model.
        loss: its loss.
        samples, encode, seed, more: see `datasets.Batches`.
        lengths: the lengths to pad to.
        clipnorm: largest norm of a weight's gradient, or None.
        schedule: the learning rate; takes its largest value and the number of steps.
        verbose, callbacks: see `fit`.
    """
    size = min(options.batch_size, len(samples))
    batches = datasets.Batches(
        samples, encode, size, lengths, seed=seed, drop_remainder=True, **more
    )
    rate = schedule(options.learning_rate, options.epochs * len(batches))
    compile_model(model, loss, rate, clipnorm)
    fit(model, batches, options.epochs, callbacks=callbacks, verbose=verbose)


def fit_to_zero_rate(model, batches, rate, epochs):
    """Trains a model that was compiled once, its rate falling to zero, without a progress bar.

    Args:
        model: compiled.
        batches: `datasets.Batches`.
        rate: the first learning rate.
        epochs: their number.
    """
    callback = RateToZero(rate, epochs * len(batches))
    fit(model, batches, epochs, callbacks=[callback], verbose=0)


class RateToZero(keras.callbacks.Callback):
    """Has the rate fall to zero in a straight line, over as many steps as a training has.

    For a model that is compiled once and trained for different numbers of steps; else `schedules`.

    Args:
        rate: the first learning rate.
        steps: their number.
    """

    def __init__(self, rate, steps):
        super().__init__()
        self.rate, self.steps = rate, steps

    def on_train_batch_begin(self, batch, logs=None):
        backend.sync_variables(self.model)
        done = int(self.model.optimizer.iterations)
        self.model.optimizer.learning_rate = self.rate * (1 - done / self.steps)


class StepValues(keras.callbacks.Callback):
    """Takes the logs of every step, in `values`; Keras tells the means of the epoch so far.

    Args:
        names: of the logs.
    """

    def __init__(self, names):
        super().__init__()
        self.values = {name: [] for name in names}
        self._sums = dict.fromkeys(self.values, 0.0)

    def on_train_batch_end(self, batch, logs=None):
        for name, values in self.values.items():
            total = float(logs[name]) * (batch + 1)
            values.append(total - (self._sums[name] if batch else 0.0))
            self._sums[name] = total


class EpochTimer(keras.callbacks.Callback):
    """Takes the time of every epoch, in `seconds`."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)


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
