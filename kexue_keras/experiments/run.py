"""The directory of a training run: options, history, curves, best weights, and how to resume it."""

import csv
import json
import math
from pathlib import Path

import keras

from kexue_keras.experiments.fitting import fit
from kexue_keras.experiments.options import UsageError, read_json
from kexue_keras.files import replacing, write_text


class Run(keras.callbacks.Callback):
    """Keeps a training run in a directory and continues it after an interruption.

    Written there: `config.json` (the options), `history.csv` (a line an epoch), `curves.png`,
    `best.weights.h5` (the epoch with the highest `monitor`), and of the last epoch
    `state-<epoch>.weights.h5` (weights and optimizer) and `state-<epoch>.random.json` (its random
    generators). Every file is written under a temporary name and renamed; the line in
    `history.csv` is what makes an epoch count, so an interruption at any time leaves a whole state
    of the epoch before.

    A resumed run gives what an undisturbed one would have given, if the batches of an epoch depend
    on nothing but the epoch's number (as those of `datasets.Batches` do).

    Args:
        directory: where to write.
        config: dict of the options, of JSON types. A second run in the same directory must have the
            same ones, those in `may_change` excepted.
        evaluate: callable without arguments, called after every epoch; returns a dict of figures to
            add to the epoch's logs.
        monitor: name of the figure, the larger the better, that decides which epoch is best.
        may_change: names of options that may differ when a run is resumed.

    Example:

    >>> import tempfile
    >>> import keras, numpy as np
    >>> from kexue_keras.experiments.run import Run
    >>> directory = tempfile.mkdtemp()
    >>> def train(epochs):
    ...     model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     run = Run(directory, {"units": 1}, evaluate=lambda: {"score": 1.0}, monitor="score")
    ...     history = model.fit(np.ones((4, 1)), np.ones(4), epochs=epochs, verbose=0,
    ...                         initial_epoch=run.resume(model), callbacks=[run])
    ...     return history.epoch
    >>> train(2), train(3)
    ([0, 1], [2])
    """

    def __init__(self, directory, config, evaluate, monitor, may_change=()):
        super().__init__()
        self.directory = Path(directory)
        self.config = json.loads(json.dumps(config))
        self.evaluate = evaluate
        self.monitor = monitor
        self.may_change = frozenset(may_change)
        self.history = []

    @property
    def best_path(self):
        """Path of the best weights."""
        return self.directory / "best.weights.h5"

    @property
    def best_epoch(self):
        """Number of the best epoch so far, from 0; None before the first."""
        if not self.history:
            return None

        def figure(epoch):
            value = self.history[epoch].get(self.monitor, math.nan)
            return -math.inf if math.isnan(value) else value

        return max(range(len(self.history)), key=figure)

    def resume(self, model):
        """Loads the last complete state of the directory, if any, into the compiled `model`.

        Returns:
            The number of epochs done: `initial_epoch` for `fit`.

        Raises:
            UsageError: the directory holds a run with other options, or a file in it is damaged.
        """
        self._check_config()
        self.history = self._read_history()
        if self.history:
            model.optimizer.build(model.trainable_variables)
            model.load_weights(self._state_path(len(self.history)))
            self._restore_random_state(model)
            if self.best_epoch == len(self.history) - 1:
                # the interruption may have come between history and best weights
                self.set_model(model)
                self._save_weights(self.best_path)
        return len(self.history)

    def train(self, model, epochs, stage):
        """Trains from where the directory stands to the end, and loads the best weights.

        Args:
            model: compiled.
            epochs: their number, those of before included.
            stage: callable; takes the number of epochs done, returns the `datasets.Batches` to go
                on with, and the epoch before which others take their place.
        """
        done = self.resume(model)
        if done:
            print(f"{self.directory}: {done} of {epochs} epochs done")
        while done < epochs:
            batches, end = stage(done)
            fit(model, batches, end, initial_epoch=done, callbacks=[self])
            done = end
        model.load_weights(self.best_path)
        print(f"best epoch: {self.best_epoch + 1} of {len(self.history)}")

    def on_epoch_end(self, epoch, logs=None):
        if epoch != len(self.history):
            raise ValueError(
                f"`fit` must go on with initial_epoch={len(self.history)}, as `resume` returned. "
                f"Received: epoch {epoch}"
            )
        logs.update(self.evaluate())
        if self.monitor not in logs:
            raise ValueError(f"`monitor` must be one of {sorted(logs)}. Received: {self.monitor!r}")
        self.history.append({"epoch": epoch + 1, **{k: float(v) for k, v in logs.items()}})
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write("config.json", json.dumps(self.config, indent=2, ensure_ascii=False))
        self._save_weights(self._state_path(epoch + 1))
        random_state = [_to_list(variable) for variable in _random_state(self.model)]
        self._write(self._random_path(epoch + 1).name, json.dumps(random_state))
        self._write_history()
        if self.best_epoch == epoch:
            self._save_weights(self.best_path)
        for path in self.directory.glob("state-*"):
            if path not in (self._state_path(epoch + 1), self._random_path(epoch + 1)):
                path.unlink()
        self._draw_curves()

    def _state_path(self, epochs):
        return self.directory / f"state-{epochs:04d}.weights.h5"

    def _random_path(self, epochs):
        return self.directory / f"state-{epochs:04d}.random.json"

    def _restore_random_state(self, model):
        path, variables = self._random_path(len(self.history)), _random_state(model)
        values = read_json(path)
        if len(values) != len(variables):
            raise UsageError(
                f"{path} has the state of {len(values)} random generators; the model has "
                f"{len(variables)}"
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def _save_weights(self, path):
        with replacing(path) as temporary:
            self.model.save_weights(temporary)

    def _write(self, name, text):
        write_text(self.directory / name, text + "\n")

    def _check_config(self):
        path = self.directory / "config.json"
        if not path.exists():
            return
        before = read_json(path)
        if not isinstance(before, dict):
            raise UsageError(f"{path} must hold a JSON object. It holds: {before!r}")
        for name in sorted((set(before) | set(self.config)) - self.may_change):
            if before.get(name) != self.config.get(name):
                raise UsageError(
                    f"{self.directory} holds a run with `{name}` = {before.get(name)!r}; to go on "
                    "with it, give the same options, else another directory. "
                    f"Received: {self.config.get(name)!r}"
                )

    def _read_history(self):
        path = self.directory / "history.csv"
        if not path.exists():
            return []
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        try:
            history = [{"epoch": int(r["epoch"]), **_floats(r)} for r in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path} is not a history of epochs: {error!r}") from error
        epochs = [row["epoch"] for row in history]
        if not epochs or epochs != list(range(1, len(epochs) + 1)):
            raise UsageError(f"{path} is not a history of epochs: it has the epochs {epochs}")
        return history

    def _write_history(self):
        names = list(dict.fromkeys(name for row in self.history for name in row))
        lines = [",".join(names)]
        lines += [",".join(str(row.get(n, "nan")) for n in names) for row in self.history]
        self._write("history.csv", "\n".join(lines))

    def _draw_curves(self):
        from matplotlib.figure import Figure

        names = [name for name in self.history[-1] if name != "epoch"]
        figure = Figure(figsize=(4 * len(names), 3), layout="constrained")
        epochs = [row["epoch"] for row in self.history]
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            axes.plot(epochs, [row.get(name, float("nan")) for row in self.history], marker=".")
            axes.set(title=name, xlabel="epoch")
        with replacing(self.directory / "curves.png") as temporary:
            figure.savefig(temporary)


def _random_state(model):
    """The states of the model's random generators, which Keras's weight files leave out."""
    return [v for v in model.variables if v.name == "seed_generator_state"]


def _to_list(variable):
    return keras.ops.convert_to_numpy(variable.value).tolist()


def _floats(row):
    return {name: float(value) for name, value in row.items() if name != "epoch"}
