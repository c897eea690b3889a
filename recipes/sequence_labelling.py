"""Finding entities with a BERT and one of four last layers: softmax, MEMM, bidirectional MEMM, CRF.

Task: a label for every character of a sentence (BMES or BIO), from which entities are read off.
The four layers get the same scores of the labels from the same BERT. They differ in what they know
of neighbouring labels (a softmax nothing) and in how they are normalized: an MEMM at every step, a
CRF over all paths, for which it needs a recursion over the sentence.
Data: `data/profiles_*` and the small BERT in `data/small_zh` (made by this project); any file of
`character label` lines.
Published: CRF >= bidirectional MEMM > MEMM > softmax; the first two are equal with a strong
encoder, the CRF is about 0.5 % better with a weak one and takes 25 % longer (12 layers).
Our results, with their commands: recipes/README.md.
Articles: https://kexue.fm/archives/7213; rate of transitions: https://kexue.fm/archives/7196

    python recipes/sequence_labelling.py                    # our profiles, three minutes
    python recipes/sequence_labelling.py --tag "林明是远博科技公司董事长。"
    python recipes/sequence_labelling.py --train resume_ner_train.bmes \\
        --valid resume_ner_dev.bmes --num-layers 1 4 --seeds 0 1 2 --output runs/resume_ner
    python recipes/sequence_labelling.py --train msra_ner.bio --valid --hold-out 0.05 \\
        --limit 10000 --output runs/msra_ner
"""

import dataclasses
import functools
import statistics
from pathlib import Path

from kexue_keras.experiments.command import AFTER_A_CELL, command

import keras
import numpy as np
from keras import ops

from kexue_keras import datasets, layers
from kexue_keras.experiments import fitting, schedules
from kexue_keras.experiments.buckets import buckets
from kexue_keras.experiments.comparison import Experiment
from kexue_keras.experiments.held_out import load_samples
from kexue_keras.experiments.options import DATA, HeldOut, SmallBert, Table, check, options_of
from kexue_keras.experiments.prediction import by_length, pad
from kexue_keras.experiments.pretrained import load_bert, load_tokenizer
from kexue_keras.experiments.tables import Figure, draw_table, markdown_table, row_of
from kexue_keras.experiments.weights import keep_best, trained_weights
from kexue_keras.layers.label_lattice import stepwise_crossentropy
from kexue_keras.layers.label_path_layer import LabelPathLayer
from kexue_keras.metrics import entities, entity_f1

FREE = ("methods", "num_layers", "seeds", "tag", "output")  # the cells do not depend on these
FIGURES = {
    "f1": Figure("F1"),
    "precision": Figure("precision"),
    "recall": Figure("recall"),
    "seconds": Figure("seconds an epoch", 1, 1),
}


@dataclasses.dataclass
class Config(Table, SmallBert, HeldOut):
    """Prints the table methods x depths; what is measured already is not measured again."""

    train: tuple[Path, ...] = (DATA / "profiles_train.bmes",)
    valid: tuple[Path, ...] = (DATA / "profiles_valid.bmes",)
    limit: int = 0
    """Training sentences, always the same ones; 0: all."""
    methods: tuple[str, ...] = ("softmax", "memm", "bi_memm", "crf")
    num_layers: tuple[int, ...] = (0,)
    """Depths: the first layers of the BERT, as many, are used; 0: all."""
    seeds: tuple[int, ...] = (0,)
    epochs: int = 2
    batch_size: int = 8
    learning_rate: float = 3e-4
    """Adam's, falls to zero over the epochs; the articles take 2e-5 and less for a BERT base."""
    lr_multiplier: float = 100.0
    """How many times as fast the transitions learn."""
    maxlen: int = 128
    """Largest number of tokens; longer sentences are divided between entities."""
    tag: str | None = None
    """A sentence: prints its entities by the best weights in `output`, trains nothing."""
    output: Path = Path("runs/sequence_labelling")


# ---- data


def pieces(characters, labels, size):
    """The sentence in parts of at most `size` characters, divided where no entity goes on."""
    while len(characters) > size:
        places = [i for i in range(1, size + 1) if labels[i][0] in "OBS"]
        cut = places[-1] if places else size
        yield characters[:cut], labels[:cut]
        characters, labels = characters[cut:], labels[cut:]
    yield characters, labels


class Data:
    """Training and held-out sentences `(characters, labels)`, and all labels, O first."""

    def __init__(self, config):
        same = [lambda sentence: "".join(sentence[0])]
        train, valid = load_samples(config, datasets.load_labelled, same, first=True)
        size = config.maxlen - 2
        self.train = [part for sentence in train for part in pieces(*sentence, size)]
        valid = [sentence for sentences in valid.values() for sentence in sentences]
        self.valid = [part for sentence in valid for part in pieces(*sentence, size)]
        names = {label for _, labels in self.train + self.valid for label in labels}
        self.labels = ["O", *sorted(names - {"O"})]


# ---- model


class IndependentLabels(LabelPathLayer):
    """The ordinary softmax, with the interface of the CRF and the MEMM: no transitions."""

    def build(self, input_shape):
        self._factors = []

    def _negative_log_likelihood(self, labels, logits, mask):
        return stepwise_crossentropy(labels, logits)

    def _most_probable(self, logits, mask, starts, ends):
        following = ops.concatenate([mask[:, 1:], ops.zeros_like(mask[:, :1])], axis=1)
        last = ops.logical_and(mask, ops.logical_not(following))[..., None]
        logits = logits + ops.where(last, ends, 0.0)
        logits = ops.concatenate([logits[:, :1] + starts, logits[:, 1:]], axis=1)
        return ops.where(mask, ops.cast(ops.argmax(logits, axis=-1), "int32"), 0)


METHODS = {
    "softmax": lambda rate: IndependentLabels(name="Paths"),
    "memm": lambda rate: layers.MaximumEntropyMarkovModel(rate, bidirectional=False, name="Paths"),
    "bi_memm": lambda rate: layers.MaximumEntropyMarkovModel(rate, name="Paths"),
    "crf": lambda rate: layers.ConditionalRandomField(rate, name="Paths"),
}


class Labeller:
    """A BERT with one of the four last layers; compiled once and trained anew for every seed.

    Args:
        config: `Config`.
        labels: their names.
        method: one of `METHODS`.
        layers: number of layers of the BERT; 0: all.
        size: number of training sentences.
    """

    def __init__(self, config, labels, method, layers, size=1):
        self.config, self.labels = config, labels
        self.tokenizer = load_tokenizer(config)
        bert = load_bert(config, **({"num_hidden_layers": layers} if layers else {}))
        self.paths = METHODS[method](config.lr_multiplier)
        scores = keras.layers.Dense(len(labels), name="Label")(bert.output)
        self.model = keras.Model(bert.inputs, self.paths(scores))
        self.batch_size = min(config.batch_size, size)
        steps = config.epochs * (size // self.batch_size)
        rate = schedules.linear(config.learning_rate, steps)
        fitting.compile_model(self.model, self.paths.sparse_loss, rate)
        self._start = fitting.Snapshot(self.model)

    def reset(self, seed):
        """Back to the pretrained weights; new weights and dropout depend on the seed."""
        rng = np.random.default_rng(seed)
        self._start.restore(rng)
        kernel = self.model.get_layer("Label").kernel
        kernel.assign(rng.normal(0, 0.02, kernel.shape))

    def token_ids(self, characters):
        """`[CLS] characters [SEP]`, one id for each."""
        known, unknown = self.tokenizer.token_dict, self.tokenizer.unk_id
        ids = [known.get(c.lower(), unknown) for c in characters]
        return [self.tokenizer.start_id, *ids, self.tokenizer.end_id]

    def train(self, sentences, seed):
        """Trains from the pretrained weights; returns the seconds of every epoch."""
        self.reset(seed)
        place = {label: i for i, label in enumerate(self.labels)}

        def encode(sentence):
            ids = self.token_ids(sentence[0])
            return (ids, [0] * len(ids)), [0, *(place[label] for label in sentence[1]), 0]

        lengths = buckets(self.config.maxlen, step=16)
        batches = datasets.Batches(
            sentences, encode, self.batch_size, lengths, seed=seed, drop_remainder=True
        )
        timer = fitting.EpochTimer()
        fitting.fit(self.model, batches, self.config.epochs, callbacks=[timer], verbose=0)
        return timer.seconds

    def tag(self, sentences):
        """The most probable labels of lists of characters, by Viterbi's algorithm."""
        rows = [(ids, [0] * len(ids)) for ids in map(self.token_ids, sentences)]
        lengths = [buckets(self.config.maxlen, compiled=True)] * 2

        def labels(rows):
            paths = self.paths.decode(self.model.predict_on_batch(pad(rows, lengths, 64)))
            for (ids, _), path in zip(rows, paths, strict=False):
                yield [self.labels[k] for k in path[1 : len(ids) - 1]]

        return by_length(labels, rows, 64, length=lambda row: len(row[0]))


# ---- evaluation


def measure(config, data, experiment, labeller_of, method, layers, seed):
    """F1, precision, recall and seconds of an epoch; keeps the weights if they are the best."""
    labeller = labeller_of(method, layers)
    times = labeller.train(data.train, seed)
    seconds = statistics.median(times[1:] or times)  # programs are compiled in the first epoch
    gold = [entities(labels) for _, labels in data.valid]
    found = [*map(entities, labeller.tag([characters for characters, _ in data.valid]))]
    scores = entity_f1(gold, found)
    for (characters, _), right, some in list(zip(data.valid, gold, found, strict=True))[:2]:
        print("  right" if right == some else "  wrong", marked(characters, some))
    best = experiment.best("f1", method=method, layers=layers)
    known = {"method": method, "layers": layers, "labels": data.labels}
    name = f"best-{method}-{layers or 'all'}"
    keep_best(config, FREE, name, labeller.model, scores.f1, best, **known)
    return {**scores._asdict(), "seconds": seconds}


def compare(config, data):
    """Measures what is not measured yet; prints and draws the table."""
    experiment = Experiment(config.output / "results.json", options_of(config, FREE))

    @functools.lru_cache(1)
    def labeller_of(method, layers):
        return Labeller(config, data.labels, method, layers, len(data.train))

    cells = {
        f"{method}, {n or 'all'} layers": {"method": method, "layers": n}
        for n in config.num_layers
        for method in config.methods
    }
    function = functools.partial(measure, config, data, experiment, labeller_of)
    found = experiment.measure_all(cells, config.seeds, function, FIGURES)
    rows, points = [], {method: [] for method in config.methods}
    for name, figures in found.items():
        method, n = cells[name]["method"], cells[name]["layers"]
        rows.append([str(n or "all"), method, *row_of(figures, FIGURES)])
        points[method].append([seed["f1"] for seed in figures])
    print(markdown_table(["layers", "method", *(form.title for form in FIGURES.values())], rows))
    columns = [f"{n or 'all'} layers" for n in config.num_layers]
    draw_table(config.output / "table.png", columns, points, "entity F1, %")


def marked(characters, found):
    """The sentence with its entities in brackets."""
    text, done = "", 0
    for start, end, kind in found:
        text += "".join(characters[done:start]) + f"[{''.join(characters[start:end])} {kind}]"
        done = end
    return text + "".join(characters[done:])


def tag(config):
    """Prints the entities of `config.tag`, once for every method and depth that has weights."""
    characters = [c for c in config.tag if not c.isspace()]
    for path, known, trained in trained_weights(config, FREE):
        size = trained.maxlen - 2
        parts = [part for part, _ in pieces(characters, ["O"] * len(characters), size)]
        labeller = Labeller(trained, known["labels"], known["method"], known["layers"])
        labeller.model.load_weights(path)
        found = [marked(p, entities(t)) for p, t in zip(parts, labeller.tag(parts), strict=True)]
        print(f"{known['method']}, {known['layers'] or 'all'} layers: {''.join(found)}")


# ---- main


def main(config):
    check(config, methods=METHODS, num_layers=0)
    if config.tag is not None:
        tag(config)
        return
    data = Data(config)
    sizes = f"{len(data.train)} training sentences, {len(data.valid)} held out"
    print(f"{sizes}; {len(data.labels)} labels")
    compare(config, data)


if __name__ == "__main__":
    command(Config, main, AFTER_A_CELL)
