"""Which optimizer? AdaFactor, clipping, exponentiated gradient and step sizes that adapt, drawn.

Task: see how they move on functions of one, two or three numbers, and how a small BERT that is
fine-tuned on the sentiment of reviews learns with each: loss, held-out accuracy, memory.
Methods: `adam`; `adafactor` (second moments of rank one), its rate relative to the weights; `sgd`
with momentum; `sgd_fast`, ten times its rate, which `sgd_hard` and `sgd_soft` have, too, that clip
(the gradient g times min(1, gamma / |g|), or gamma / (|g| + gamma)); `sgd_plain`, without momentum,
and `adaptive`, the same with a gain for every weight, learnt.
Data: `data/reviews_*` and the small BERT in `data/small_zh` (made by this project); any file of
lines `text TAB label`, with 0 and 1.
Published: no figures; the claims are told with ours.
Our results, with their commands: recipes/README.md.
Articles: https://kexue.fm/archives/7302 (AdaFactor), https://kexue.fm/archives/7469 (clipping),
https://kexue.fm/archives/8968 (exponentiated gradient and step sizes)

    python recipes/optimizers.py                      # functions, and one seed of every method
    python recipes/optimizers.py --seeds 0 1 2        # mean and spread
    python recipes/optimizers.py --methods adam adafactor --train train.tsv --valid valid.tsv
"""

import dataclasses
import json
import operator
from pathlib import Path

from kexue_keras.experiments.command import AFTER_A_CELL, command

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure as Picture

from kexue_keras import backend, datasets
from kexue_keras.experiments import schedules
from kexue_keras.experiments.buckets import buckets
from kexue_keras.experiments.comparison import compare_methods
from kexue_keras.experiments.fitting import Snapshot, StepValues, fit
from kexue_keras.experiments.held_out import load_samples
from kexue_keras.experiments.options import DATA, HeldOut, SmallBert, Table, check
from kexue_keras.experiments.prediction import predict
from kexue_keras.experiments.pretrained import load_classifier, load_tokenizer
from kexue_keras.experiments.tables import Figure, markdown_table
from kexue_keras.files import replacing, write_text
from kexue_keras.optimizers import AdaFactor, AdaptiveStepSize, ExponentiatedGradient, SoftClipping

SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam
METHODS = tuple("adam adafactor sgd sgd_fast sgd_hard sgd_soft sgd_plain adaptive".split())
FIGURES = {
    "accuracy": Figure("accuracy, %"),
    "loss": Figure("training loss of the last epoch", 1.0, 3),
}
FREE = ("output", "seeds", "methods", "function_steps")  # options that no cell depends on
MIB = 1 << 20


@dataclasses.dataclass
class Config(Table, SmallBert, HeldOut):
    """Draws paths on known functions, prints the slots' memory and the table methods x figures;
    what is measured already is not measured again."""

    train: tuple[Path, ...] = (DATA / "reviews_train.tsv",)
    valid: tuple[Path, ...] = (DATA / "reviews_valid.tsv",)
    limit: int = 320
    """Training reviews, always the same ones; 0: all."""
    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (0,)
    epochs: int = 3
    batch_size: int = 16
    """Reviews in a batch."""
    blocks: int = 2
    """Blocks of the BERT that are kept, its first ones."""
    maxlen: int = 48
    learning_rate: float = 3e-4
    """Adam's at the start; all rates fall to zero."""
    adafactor_rate: float = 3e-3
    """AdaFactor's; the article takes 1e-3 for larger models."""
    sgd_rate: float = 0.005
    """That of `sgd`, `sgd_plain` and `adaptive`; a tenth of that of the other three."""
    gamma: float = 1.0
    """Norm of the gradient of all weights from which on it is clipped."""
    meta_rate: float = 0.1
    """By which `adaptive` changes the logarithms of its gains, at most on average over a weight."""
    function_steps: int = 150
    """Steps on each of the known functions; 0: none."""
    output: Path = Path("runs/optimizers")


# ---- known functions


def quartic(x):
    """Its curvature grows with its gradient: what clipping is made for."""
    return x[0] ** 4


def valley(x):
    """Half the quadratic form diag(1, 100)."""
    return (x[0] ** 2 + 100 * x[1] ** 2) / 2


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def simplex(p):
    """Divergence of a distribution from (0.7, 0.2, 0.1)."""
    return sum(q * ops.log(q / ops.maximum(p[i], 1e-9)) for i, q in enumerate((0.7, 0.2, 0.1)))


def to_simplex(p):
    """What gradient descent needs, and exponentiated gradient does not."""
    p = ops.maximum(p, 1e-6)
    return p / ops.sum(p)


MAKE = {
    "gradient descent": SGD,
    "hard clipping": lambda rate: SoftClipping(SGD(rate), 1.0, "hard"),
    "soft clipping": lambda rate: SoftClipping(SGD(rate), 1.0),
    "adaptive": lambda rate: AdaptiveStepSize(rate, 1e-3),
    "adaptive, normalized": lambda rate: AdaptiveStepSize(rate, 0.05, normalized=True),
    "exponentiated gradient": lambda rate: ExponentiatedGradient(rate, simplex=-1),
    "AdaFactor": AdaFactor,
    "Adam": Adam,
}
# function: start, and optimizers with their learning rates
DESCENTS = {
    quartic: ((10.0,), ("gradient descent", 0.1), ("gradient descent", 0.002),
              ("hard clipping", 0.1), ("soft clipping", 0.1), ("Adam", 0.1)),
    valley: ((1.0, 1.0), ("gradient descent", 0.005), ("adaptive", 0.005),
             ("adaptive, normalized", 0.005), ("AdaFactor", 0.05), ("Adam", 0.05)),
    rosenbrock: ((-1.2, 1.0), ("gradient descent", 0.0005), ("adaptive, normalized", 0.0005),
                 ("soft clipping", 0.02), ("AdaFactor", 0.05), ("Adam", 0.05)),
    simplex: ((0.02, 0.08, 0.9), ("gradient descent", 0.01), ("exponentiated gradient", 0.01),
              ("exponentiated gradient", 0.1)),
}  # fmt: skip


def descend(function, start, optimizer, steps):
    """Values of the function, `(steps + 1,)`, and the path, `(steps + 1, numbers)`."""
    x = keras.Variable(start)
    if function is simplex and not isinstance(optimizer, ExponentiatedGradient):
        x.constraint = to_simplex
    gradient_of = backend.value_and_grad(lambda: function(x.value), [x])
    values, path = [], []
    for _ in range(steps + 1):
        value, gradients = gradient_of()
        values.append(float(value))
        path.append(ops.convert_to_numpy(x))
        optimizer.apply(gradients, [x])
    return np.array(values), np.array(path)


def descend_all(config):
    """Runs every optimizer on every function; prints where they end, draws `functions.png`."""
    picture = Picture(figsize=(18, 9), layout="constrained")
    axes = picture.subplots(2, 3).T.ravel()
    planes = dict(zip((valley, rosenbrock), axes[4:], strict=True))
    x, y = np.meshgrid(np.linspace(-1.5, 1.5, 80), np.linspace(-0.7, 1.5, 80))
    for function, ax in planes.items():
        ax.contour(x, y, np.log1p(function((x, y))), 20, linewidths=0.4)
        ax.set(title=f"{function.__name__}: paths", xlim=(-1.5, 1.5), ylim=(-0.7, 1.5))
    rows = []
    for ax, (function, (start, *optimizers)) in zip(axes, DESCENTS.items(), strict=False):
        for name, rate in optimizers:
            values, path = descend(function, start, MAKE[name](rate), config.function_steps)
            ends = [f"{values[i]:.3g}" for i in (0, -1)]
            rows.append([function.__name__, f"{name}, {rate}", *ends])
            ax.semilogy(np.clip(values, 1e-12, 1e6), label=f"{name}, {rate}")
            if function in planes:
                planes[function].plot(*np.clip(path, -3, 3).T, marker=".", label=name)
        ax.set(title=f"{function.__name__}: value", xlabel="step")
        ax.legend(fontsize="small")
    save(picture, config.output / "functions.png")
    print(markdown_table(["function", "optimizer, rate", "at the start", "at the end"], rows))


def save(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        picture.savefig(temporary)


# ---- the optimizers of the table


def make_optimizer(config, method, steps):
    """The optimizer of a row, its rate falling to zero."""

    sgd = config.sgd_rate
    values = {"adam": config.learning_rate, "adafactor": config.adafactor_rate}
    values |= {"sgd": sgd, "sgd_plain": sgd, "adaptive": sgd}
    rate = schedules.linear(values.get(method, 10 * sgd), steps)
    return {
        "adam": lambda: Adam(rate),
        "adafactor": lambda: AdaFactor(rate),
        "sgd": lambda: SGD(rate, momentum=0.9),
        "sgd_fast": lambda: SGD(rate, momentum=0.9),
        "sgd_hard": lambda: SoftClipping(SGD(rate, momentum=0.9), config.gamma, "hard"),
        "sgd_soft": lambda: SoftClipping(SGD(rate, momentum=0.9), config.gamma, "soft"),
        "sgd_plain": lambda: SGD(rate),
        "adaptive": lambda: AdaptiveStepSize(rate, config.meta_rate, normalized=True),
    }[method]()


def show_memory(config):
    """Prints what the slots take for this BERT, and the share of its weights' memory."""
    weights = build_model(config).trainable_variables

    def size(variables):
        return sum(4 * int(np.prod(v.shape)) for v in variables if len(v.shape))

    rows = []
    for method in config.methods:
        optimizer = make_optimizer(config, method, 1)
        optimizer.build(weights)
        taken = size(optimizer.variables)
        rows.append([method, f"{taken / MIB:.2f}", f"{100 * taken / size(weights):.1f}"])
    print(markdown_table(["method", "memory of the slots, MiB", "% of the weights'"], rows))


# ---- fine-tuning


def build_model(config):
    """A classifier of reviews, two logits from [CLS]."""
    keras.utils.set_random_seed(0)
    return load_classifier(config, 2, num_hidden_layers=config.blocks)


class Trainer:
    """Fine-tunes by one method after another; the seeds of a method share what is compiled."""

    def __init__(self, config, train, valid):
        self.config, self.train, self.valid = config, train, valid
        self.tokenizer, self.lengths = load_tokenizer(config), buckets(config.maxlen)
        self.steps = config.epochs * len(self.batches(0))
        self.method = None

    def encode(self, review):
        return self.tokenizer.encode(review[0], maxlen=self.config.maxlen), review[1]

    def batches(self, seed):
        options = {"seed": seed, "drop_remainder": True}
        size = min(self.config.batch_size, len(self.train))
        return datasets.Batches(self.train, self.encode, size, self.lengths, **options)

    def compile(self, method):
        keras.backend.clear_session()
        self.method, self.model = method, build_model(self.config)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = make_optimizer(self.config, method, self.steps)
        self.model.compile(optimizer, loss, jit_compile=backend.train_with_xla())
        self.start = Snapshot(self.model)

    def measure(self, experiment, method, seed):
        """Trains by one method with one seed; writes the losses of all steps."""
        if method != self.method:
            self.compile(method)
        self.start.restore(np.random.default_rng(seed))
        kernel = self.model.get_layer("Label").kernel
        kernel.assign(keras.initializers.GlorotUniform(seed)(kernel.shape))
        taken, epochs = StepValues(["loss"]), self.config.epochs
        history = fit(self.model, self.batches(seed), epochs, callbacks=[taken]).history
        path = self.config.output / f"{method}-{seed}.json"
        write_text(path, json.dumps(taken.values["loss"]) + "\n")
        rows = [self.encode(review)[0] for review in self.valid]
        logits = predict(self.model, rows, self.lengths)
        right = np.argmax(logits, -1) == np.array([label for _, label in self.valid])
        right &= np.isfinite(logits).all(-1)
        return {"accuracy": right.mean(), "loss": history["loss"][-1]}


def draw_losses(config):
    """The losses of the methods over the steps, mean and range over the seeds: `losses.png`."""
    picture = Picture(figsize=(10, 6), layout="constrained")
    ax = picture.subplots()
    for method in config.methods:
        paths = [config.output / f"{method}-{seed}.json" for seed in config.seeds]
        found = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
        # a mean of five steps, so that lines can be told apart
        smooth = np.array([np.convolve(losses, np.ones(5) / 5, "valid") for losses in found])
        if found:
            (line,) = ax.plot(smooth.mean(0), label=method)
            limits = range(smooth.shape[1]), smooth.min(0), smooth.max(0)
            ax.fill_between(*limits, color=line.get_color(), alpha=0.1)
    ax.set(xlabel="step", ylabel="training loss, mean of five steps", ylim=(0, 1.2))
    ax.legend(fontsize="small")
    save(picture, config.output / "losses.png")


# ---- main


def main(config):
    check(config, methods=METHODS, function_steps=0, blocks=1)
    if config.function_steps:
        descend_all(config)
    show_memory(config)
    train, valid = load_samples(config, datasets.load_sentiment, [operator.itemgetter(0)])
    valid = sum(valid.values(), [])
    print(f"{len(train)} training reviews, {len(valid)} held out")
    compare_methods(config, FREE, Trainer(config, train, valid).measure, FIGURES)
    draw_losses(config)


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
