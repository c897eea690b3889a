"""Where gradients go: through the steps of recurrent cells, and from parameters to inputs.

Task 1: the class of a sequence is its first symbol, all others are noise; it is read out at the
end, after 20 or 40 steps. Methods: cells of `SimpleRNN`, `LSTM`, `GRU`, and the article's own,
`layers.OutputResetGRUCell`. Measured: the norms of d h_T / d h_t (of d c_T / d c_t for the LSTM and
the article's cell, which it analyses) for every lag, before and after training, and accuracy.
Task 2: handwritten digits, a dense network, gradient descent. Both sides of the inequality between
the gradient of the loss by the inputs and by the parameters, during training; and what a penalty on
the one does to the other.
Data: task 1 makes its own; the digits come with scikit-learn (`pip install -e ".[digits]"`).
Published: no experiments. Our results, with their commands: recipes/README.md.
Articles: https://kexue.fm/archives/7888 (recurrent cells), https://kexue.fm/archives/8796
(gradients by inputs and parameters)

    python recipes/recurrent_gradients.py                       # one seed, about a minute
    python recipes/recurrent_gradients.py --seeds 0 1 2
    python recipes/recurrent_gradients.py --methods lstm gru --lengths 100 200 --epochs 30
"""

import dataclasses
import json
from pathlib import Path

from kexue_keras.experiments.command import AFTER_A_CELL, command

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure as Picture

from kexue_keras import analysis, backend, layers, training
from kexue_keras.experiments.comparison import Experiment
from kexue_keras.experiments.options import Table, UsageError, check, options_of
from kexue_keras.experiments.tables import Figure, markdown_table, row_of
from kexue_keras.files import replacing, write_text
from kexue_keras.metrics import spearman

CELLS = {
    "simple_rnn": (keras.layers.SimpleRNNCell, "h"),
    "lstm": (keras.layers.LSTMCell, "c"),
    "gru": (keras.layers.GRUCell, "h"),
    "output_reset": (layers.OutputResetGRUCell, "c"),
}
METHODS = tuple(CELLS)
PENALTIES = ("none", "inputs", "parameters")
SYMBOLS = 4
MEASURED = 5  # epochs between two measurements of the digits
FREE = ("output", "seeds", "methods")  # options that the cells of the table do not depend on
DIGITS = {
    "accuracy": Figure("accuracy, %"),
    "violated": Figure("left > right, %"),
    "ratio_before": Figure("right / left, before", 1.0, 1),
    "ratio_after": Figure("right / left, after", 1.0, 1),
    "rank_correlation": Figure("rank correlation, after", 1.0),
    "inputs": Figure("log10 of the squared gradient, inputs", 1.0),
    "parameters": Figure("log10 of the squared gradient, parameters", 1.0),
}


@dataclasses.dataclass
class Config(Table):
    """Prints two tables and draws them; what is measured already is not measured again."""

    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (0,)
    lengths: tuple[int, ...] = (20, 40)
    """Lengths of the sequences, a training for each; norms are those of the last one."""
    units: int = 32
    """Size of the cells."""
    samples: int = 1536
    """Sequences to train with; a third as many are held out."""
    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 5e-3
    """Adam's."""
    digit_epochs: int = 30
    """Passes over the digits; 0: without them."""
    digit_rate: float = 0.1
    """The rate of gradient descent on the digits, constant."""
    penalty: float = 0.05
    """Weight of half the squared gradient by the inputs (mean over samples) or the parameters (of
    the batch)."""
    output: Path = Path("runs/recurrent_gradients")


# ---- recurrent cells


def make_sequences(count, length, rng):
    """One-hot symbols with a mark on the first one, `(count, length, 5)`, and the first symbols."""
    symbols = rng.integers(0, SYMBOLS, (count, length))
    x = np.zeros((count, length, SYMBOLS + 1), "float32")
    x[..., :SYMBOLS] = np.eye(SYMBOLS)[symbols]
    x[:, 0, SYMBOLS] = 1
    return x, symbols[:, 0]


def train_cell(config, method, length, seed):
    """A new model, trained; its accuracy, and norms by lag before and after, `(lags,)`."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    make, state = CELLS[method]
    rng = np.random.default_rng(seed)
    x, y = make_sequences(config.samples, length, rng)
    held_out = make_sequences(config.samples // 3, length, rng)
    layer = keras.layers.RNN(make(config.units))
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, keras.layers.Dense(SYMBOLS)(layer(inputs)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(config.learning_rate, clipnorm=1.0)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=backend.train_with_xla())
    last = length == config.lengths[-1]
    before = mean_norms(layer, held_out[0], state) if last else None
    model.fit(x, y, config.batch_size, config.epochs, verbose=0)
    _, accuracy = model.evaluate(*held_out, batch_size=config.samples // 3, verbose=0)
    return accuracy, before, mean_norms(layer, held_out[0], state) if last else None


def mean_norms(layer, x, state):
    """Geometric mean over 32 sequences of the norms by lag."""
    norms = analysis.recurrent_gradient_norms(layer, x[:32], state)
    return np.exp(np.log(np.maximum(norms, 1e-300)).mean(0))


def measure_cell(config, method, seed):
    """Trains one kind of cell at all lengths; writes the norms by lag."""
    figures = {}
    for length in config.lengths:
        figures[f"accuracy_{length}"], before, after = train_cell(config, method, length, seed)
    for name, norms in (("before", before), ("after", after)):
        for lag in lags_of(config):
            figures[f"{name}_{lag}"] = np.log10(norms[lag])
    norms = {"before": before.tolist(), "after": after.tolist()}
    write_text(config.output / f"{method}-{seed}.json", json.dumps(norms) + "\n")
    return figures


def lags_of(config):
    """The lags of the table: half of the longest, and the longest."""
    longest = config.lengths[-1] - 1
    return sorted({longest // 2, longest})


def figures_of(config):
    """The columns of the table of cells."""
    shown = {f"accuracy_{n}": Figure(f"length {n}, accuracy %") for n in config.lengths}
    for name in ("before", "after"):
        for lag in lags_of(config):
            shown[f"{name}_{lag}"] = Figure(f"log10 norm at lag {lag}, {name}", 1.0)
    return shown


def draw_cells(config, found):
    """Norms by lag before and after training, and accuracy by length: `norms.png`."""
    picture = Picture(figsize=(14, 4.5), layout="constrained")
    *panels, last = picture.subplots(1, 3)
    for ax, name in zip(panels, ("before", "after"), strict=True):
        for method in config.methods:
            paths = [config.output / f"{method}-{seed}.json" for seed in config.seeds]
            norms = [json.loads(path.read_text(encoding="utf-8"))[name] for path in paths]
            logs = np.log10(norms)
            style = ("-", "--")[METHODS.index(method) % 2]
            label = f"{method}: {CELLS[method][1]}"
            (line,) = ax.semilogy(10 ** logs.mean(0), style, label=label)
            limits = 10 ** logs.min(0), 10 ** logs.max(0)
            ax.fill_between(range(logs.shape[1]), *limits, color=line.get_color(), alpha=0.15)
        ax.axhline(1, color="gray", linewidth=0.5)
        ax.set(title=f"norm of the gradient, {name} training", xlabel="lag, steps")
        ax.legend(fontsize="small")
    for method, cells in found.items():
        values = [[100 * cell[f"accuracy_{n}"] for n in config.lengths] for cell in cells]
        last.plot(config.lengths, np.mean(values, 0), marker="o", label=method)
    last.axhline(100 / SYMBOLS, color="gray", linestyle=":", label="chance")
    last.set(title="first symbol remembered", xlabel="length", ylabel="accuracy, %", ylim=(0, 103))
    last.set_xticks(config.lengths)
    last.legend(fontsize="small")
    save(picture, config.output / "norms.png")


def save(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        picture.savefig(temporary)


# ---- gradients by inputs and by parameters


def crossentropy(y, logits):
    return keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)


class Penalized(training.Strategy):
    """Adds half the squared gradient of the loss by the inputs, or by the parameters."""

    def __init__(self, model, by, weight):
        super().__init__(model)
        self.by, self.weight = by, weight

    def objective(self, objective, batch, trainer):
        x, y, _ = batch

        def by_parameters():
            value, gradients = backend.value_and_grad(objective, self.model.trainable_variables)()
            return value, sum(ops.sum(g**2) for g in gradients)

        def by_inputs():
            loss = lambda x: crossentropy(y, self.model(x, training=True))  # noqa: E731
            product = backend.vector_jacobian_product
            _, (gradient,) = product(loss, [x], ops.ones_like(x[:, 0]))
            return objective(), ops.mean(ops.sum(gradient**2, axis=-1))

        def penalized():
            (loss, y_pred), penalty = by_inputs() if self.by == "inputs" else by_parameters()
            return loss + self.weight / 2 * penalty, y_pred

        return penalized


class Sides(keras.callbacks.Callback):
    """Both sides of the inequality for the same digits, before training and every few epochs."""

    def __init__(self, network, x, y):
        super().__init__()
        self.network, self.x = network, x
        self.loss = lambda logits: crossentropy(y, logits)
        self.epochs, self.left, self.right = [], [], []

    def take(self, epoch):
        left, right = analysis.gradient_penalty_bound(self.network, self.x, self.loss)
        self.epochs.append(epoch)
        self.left.append(left)
        self.right.append(right)

    def on_train_begin(self, logs=None):
        self.take(0)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % MEASURED == 0 or epoch + 1 == self.params["epochs"]:
            backend.sync_variables(self.model)
            self.take(epoch + 1)


def load_digits():
    """Images `(1797, 64)` from -1 to 1 and classes, the last fifth of them held out."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError(
            'the digits need scikit-learn: pip install -e ".[digits]", or --digit-epochs 0'
        ) from error
    x, y = load_digits(return_X_y=True)
    return (x / 8 - 1).astype("float32"), y


def measure_digits(config, penalty, seed):
    """Trains with one penalty; writes both sides of all digits that are looked at."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    x, y = load_digits()
    held_out = len(x) // 5
    network = keras.Sequential([keras.Input((x.shape[1],))])
    for units, activation in ((32, "tanh"), (32, "tanh"), (10, None)):
        network.add(keras.layers.Dense(units, activation))
    model = network if penalty == "none" else Penalized(network, penalty, config.penalty)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(config.digit_rate)
    model.compile(optimizer, loss, jit_compile=backend.train_with_xla())
    sides = Sides(network, x[:200], y[:200])
    train = x[:-held_out], y[:-held_out]
    model.fit(*train, config.batch_size, config.digit_epochs, verbose=0, callbacks=[sides])
    logits = ops.convert_to_numpy(network(x[-held_out:]))
    scalar = lambda x: crossentropy(y[:200], network(x))  # noqa: E731
    probe = ops.convert_to_tensor(x[:200])
    _, (by_x,) = backend.vector_jacobian_product(scalar, [probe], ops.ones_like(probe[:, 0]))
    left, right = np.array(sides.left), np.array(sides.right)
    kept = {"epochs": sides.epochs, "left": left.tolist(), "right": right.tolist()}
    write_text(config.output / f"digits-{penalty}-{seed}.json", json.dumps(kept) + "\n")
    ratios = right / np.maximum(left, 1e-30)
    return {
        "accuracy": np.mean(logits.argmax(-1) == y[-held_out:]),
        "violated": np.mean(left > right),
        "ratio_before": np.median(ratios[0]),
        "ratio_after": np.median(ratios[-1]),
        "rank_correlation": spearman(left[-1], right[-1]),
        "inputs": np.log10(np.mean(np.sum(ops.convert_to_numpy(by_x) ** 2, -1))),
        "parameters": np.log10(np.mean(right[-1])),
    }


def draw_digits(config):
    """Both sides over the epochs, and of single digits at the end: `bound.png`."""
    picture = Picture(figsize=(14, 4.5), layout="constrained")
    panels = picture.subplots(1, 3)
    for color, penalty in enumerate(PENALTIES):
        paths = [config.output / f"digits-{penalty}-{seed}.json" for seed in config.seeds]
        found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        means = {side: np.mean([f[side] for f in found], axis=(0, 2)) for side in ("left", "right")}
        for side, style in (("left", "--"), ("right", "-")):
            label = f"{side}, penalty: {penalty}"
            panels[0].semilogy(
                found[0]["epochs"], means[side], style, color=f"C{color}", label=label
            )
        if penalty == "none":
            for ax, when, title in ((panels[1], 0, "before"), (panels[2], -1, "after")):
                sides = [np.concatenate([f[side][when] for f in found]) for side in means]
                sides = np.log10(np.maximum(sides, 1e-30))
                ax.plot(*sides, ".", markersize=3)
                limits = sides.min(), sides.max()
                ax.plot(limits, limits, color="gray", linewidth=0.7, label="equal")
                ax.set(title=f"{title} training, no penalty, a point a digit")
                ax.set(xlabel="log10 of the left side", ylabel="log10 of the right side")
                ax.legend(fontsize="small")
    panels[0].set(title="mean of both sides", xlabel="epoch")
    panels[0].legend(fontsize="small")
    save(picture, config.output / "bound.png")


# ---- main


def main(config):
    check(config, methods=METHODS, lengths=2, units=1, samples=3, digit_epochs=0, penalty=0)
    experiment = Experiment(config.output / "results.json", options_of(config, FREE))

    def table(corner, name, rows, function, shown):
        found = experiment.measure_all(
            {row: {name: row} for row in rows},
            config.seeds,
            lambda **cell: function(config, cell[name], cell["seed"]),
            shown,
        )
        titles = [figure.title for figure in shown.values()]
        print(markdown_table([corner, *titles], [[r, *row_of(found[r], shown)] for r in rows]))
        return found

    found = table("cell", "method", config.methods, measure_cell, figures_of(config))
    draw_cells(config, found)
    if config.digit_epochs:
        table("penalty on", "penalty", PENALTIES, measure_digits, DIGITS)
        draw_digits(config)
    print(f"pictures: {config.output}/*.png")


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
