"""Finding entities with a BERT and one of four last layers: softmax, MEMM, bidirectional MEMM, CRF.

Task: a label for every character of a sentence (BMES or BIO), from which entities are read off.
The four layers get the same scores of the labels from the same BERT. They differ in what they know
of neighbouring labels (a softmax nothing) and in how they are normalized: an MEMM at every step, a
CRF over all paths, for which it needs a recursion over the sentence.
Data: `data/profiles_*` and the small BERT in `data/small_zh` (made by this project); any file of
`character label` lines.
Published: CRF >= bidirectional MEMM > MEMM > softmax; the first two are equal with a strong
encoder, the CRF is about 0.5 % better with a weak one and takes 25 % longer (12 layers).
Our results, with their commands: README.md, section Results.
Article: https://kexue.fm/archives/7213; learning rate of the transitions:
https://kexue.fm/archives/7196

    python recipes/sequence_labelling.py                    # our profiles, three minutes
    python recipes/sequence_labelling.py --tag "林明是远博科技公司董事长。"
    python recipes/sequence_labelling.py --train resume_ner_train.bmes \\
        --valid resume_ner_dev.bmes --num-layers 1 4 --seeds 0 1 2 --output runs/resume_ner
    python recipes/sequence_labelling.py --train msra_ner.bio --valid --hold-out 3000 \\
        --limit 10000 --output runs/msra_ner
"""

import dataclasses
import statistics
import sys
import time
from pathlib import Path

# before keras: it turns on TensorFlow's faster matrix products
from kexue_keras import backend, datasets, layers, models
from kexue_keras.experiments import comparison as experiments

# isort: split
import keras
import numpy as np
import tyro
from keras import ops

from kexue_keras.experiments.fitting import Snapshot, load_tokenizer
from kexue_keras.files import replacing
from kexue_keras.layers.label_lattice import stepwise_crossentropy
from kexue_keras.layers.label_path_layer import LabelPathLayer
from kexue_keras.metrics import entities, entity_f1

DATA = Path(__file__).resolve().parent.parent / "data"
SMALL = DATA / "small_zh"
FIGURES = ("f1", "precision", "recall")


@dataclasses.dataclass
class Config:
    """Prints the table methods x depths; what is measured already is not measured again."""

    train: tuple[Path, ...] = (DATA / "profiles_train.bmes",)
    """Files of labelled sentences."""
    valid: tuple[Path, ...] = (DATA / "profiles_valid.bmes",)
    """Files of held-out sentences; training sentences that occur here are dropped."""
    hold_out: int = 0
    """Sentences of the training files to hold out besides, always the same ones."""
    limit: int = 0
    """Training sentences, always the same ones; 0: all."""
    methods: tuple[str, ...] = ("softmax", "memm", "bi_memm", "crf")
    """Which rows of the table."""
    num_layers: tuple[int, ...] = (0,)
    """Depths: the first layers of the BERT, as many, are used; 0: all."""
    seeds: tuple[int, ...] = (0,)
    """One run of every cell for each; the table shows mean and standard deviation."""
    config_path: Path = SMALL / "bert_config.json"
    """Configuration of a pretrained BERT."""
    checkpoint_path: Path = SMALL / "bert_model.npz"
    """Checkpoint of the BERT."""
    dict_path: Path = SMALL / "vocab.txt"
    """Vocabulary of the BERT."""
    epochs: int = 2
    """Passes over the training sentences."""
    batch_size: int = 8
    """Sentences in a batch."""
    learning_rate: float = 3e-4
    """Adam's, falls to zero over the epochs; the articles take 2e-5 and less for a BERT base."""
    lr_multiplier: float = 100.0
    """How many times as fast the transitions learn."""
    maxlen: int = 128
    """Largest number of tokens; longer sentences are divided between entities."""
    dropout: float = 0.1
    """Dropout rate of hidden states and attention weights."""
    tag: str = ""
    """A sentence: prints its entities by the best weights of an earlier run, trains nothing."""
    output: Path = Path("runs/sequence_labelling")
    """Directory of the results."""


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
        train, valid = (
            [sentence for path in paths for sentence in datasets.load_labelled(path)]
            for paths in (config.train, config.valid)
        )
        if config.hold_out:
            counts = (config.hold_out, len(train) - config.hold_out)
            if not 0 < config.hold_out < len(train):
                raise ValueError(
                    f"`hold_out` must be below {len(train)}, the number of training sentences. "
                    f"Received: {config.hold_out}"
                )
            more, train = datasets.split(train, counts, key=_text)
            valid += more
        held_out = {_text(sentence) for sentence in valid}
        train = [sentence for sentence in train if _text(sentence) not in held_out]
        if not valid or not train:
            raise ValueError(
                "`valid` or `hold_out` must give held-out sentences, and `train` others. "
                f"Received: {len(valid)} and {len(train)} sentences"
            )
        if config.limit:
            (train,) = datasets.split(train, (min(config.limit, len(train)),))
        size = config.maxlen - 2
        self.train = [part for sentence in train for part in pieces(*sentence, size)]
        self.valid = [part for sentence in valid for part in pieces(*sentence, size)]
        names = {label for _, labels in self.train + self.valid for label in labels}
        self.labels = ["O", *sorted(names - {"O"})]
        self.gold = [entities(labels) for _, labels in self.valid]


def _text(sentence):
    return "".join(sentence[0])


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
    """A BERT with one of the four last layers; compiled once and trained anew for every seed."""

    def __init__(self, config, data, method, layers):
        self.config, self.labels = config, data.labels
        self.tokenizer = load_tokenizer(config)
        step = 32 if backend.train_with_xla() else 16
        self.buckets = (*range(step, config.maxlen, step), config.maxlen)
        bert = models.build_transformer_model(
            config.config_path,
            config.checkpoint_path,
            dropout_rate=config.dropout,
            attention_dropout_rate=config.dropout,
            **({"num_hidden_layers": layers} if layers else {}),
        )
        self.paths = METHODS[method](config.lr_multiplier)
        scores = keras.layers.Dense(len(data.labels), name="Label")(bert.output)
        self.model = keras.Model(bert.inputs, self.paths(scores))
        self.batch_size = min(config.batch_size, len(data.train))
        steps = config.epochs * (len(data.train) // self.batch_size)
        rate = keras.optimizers.schedules.PolynomialDecay(config.learning_rate, steps, 0.0)
        optimizer = keras.optimizers.Adam(rate, clipnorm=1.0)
        self.model.compile(optimizer, self.paths.sparse_loss, jit_compile=backend.train_with_xla())
        self._start = Snapshot(self.model)

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

        batches = datasets.Batches(
            sentences, encode, self.batch_size, self.buckets, seed=seed, drop_remainder=True
        )
        timer = Timer()
        self.model.fit(
            batches,
            epochs=self.config.epochs,
            shuffle=False,
            callbacks=[batches.callback(), timer],
            verbose=0,
        )
        return timer.seconds

    def tag(self, sentences, batch_size=64):
        """The most probable labels of lists of characters, by Viterbi's algorithm."""
        rows = [self.token_ids(characters) for characters in sentences]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        found = [[] for _ in rows]
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            # few shapes: each is compiled anew
            length = self.config.maxlen
            while length // 2 >= len(rows[chosen[-1]]):
                length //= 2
            ids = [np.array(rows[i], "int32") for i in chosen]
            ids = datasets.stack(ids, batch_size, length)
            logits = self.model.predict_on_batch([ids, np.zeros_like(ids)])
            for i, path in zip(chosen, self.paths.decode(logits), strict=False):
                found[i] = [self.labels[k] for k in path[1 : len(rows[i]) - 1]]
        return found


class Timer(keras.callbacks.Callback):
    """Takes the time of every epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)


# ---- evaluation


def measure(config, data, experiment, labeller, seed, **cell):
    """F1, precision, recall and seconds of an epoch; keeps the weights if they are the best."""
    times = labeller.train(data.train, seed)
    # in the first epoch programs are compiled
    seconds = statistics.median(times[1:] or times)
    tags = labeller.tag([characters for characters, _ in data.valid])
    found = [entities(row) for row in tags]
    scores = entity_f1(data.gold, found)
    print(f"{cell_name(**cell)}, seed {seed}: F1 {100 * scores.f1:.2f} %, {seconds:.1f} s an epoch")
    for (characters, _), gold, some in list(zip(data.valid, data.gold, found, strict=True))[:2]:
        print("  right" if gold == some else "  wrong", marked(characters, some), flush=True)
    best = experiment.best("f1", **cell)
    if best is None or scores.f1 > best:
        with replacing(weights_path(config, **cell)) as temporary:
            labeller.model.save_weights(temporary)
    return {**scores._asdict(), "seconds": seconds}


def cell_name(method, layers):
    return f"{method}, {layers or 'all'} layers"


def weights_path(config, method, layers):
    return config.output / f"best-{method}-{layers or 'all'}.weights.h5"


def marked(characters, found):
    """The sentence with its entities in brackets."""
    text, done = "", 0
    for start, end, kind in found:
        text += "".join(characters[done:start]) + f"[{''.join(characters[start:end])} {kind}]"
        done = end
    return text + "".join(characters[done:])


def cells(config):
    return [{"method": name, "layers": n} for n in config.num_layers for name in config.methods]


def run(config, data, experiment):
    """Measures what is not measured yet."""
    for cell in cells(config):
        missing = [s for s in config.seeds if experiment.get(**cell, seed=s) is None]
        labeller = Labeller(config, data, **cell) if missing else None
        for seed in missing:
            figures = measure(config, data, experiment, labeller, seed, **cell)
            experiment.keep(figures, **cell, seed=seed)


def show(config, experiment):
    """Prints and draws the table: mean and standard deviation over the seeds."""

    def values(figure, cell):
        return [experiment.get(**cell, seed=s)[figure] for s in config.seeds]

    rows = []
    for cell in cells(config):
        scores = [experiments.mean_and_spread(values(f, cell)) for f in FIGURES]
        seconds = experiments.mean_and_spread(values("seconds", cell), scale=1, digits=1)
        rows.append([str(cell["layers"] or "all"), cell["method"], *scores, seconds])
    header = ["layers", "method", "F1", "precision", "recall", "seconds an epoch"]
    print(experiments.markdown_table(header, rows))
    points = {name: [] for name in config.methods}
    for cell in cells(config):
        points[cell["method"]].append([100 * value for value in values("f1", cell)])
    columns = [f"{n or 'all'} layers" for n in config.num_layers]
    experiments.draw_table(config.output / "table.png", columns, points, "entity F1, %")


def tag(config, data):
    """Prints the entities of `config.tag`, once for every method and depth."""
    characters = [c for c in config.tag if not c.isspace()]
    parts = [part for part, _ in pieces(characters, ["O"] * len(characters), config.maxlen - 2)]
    for cell in cells(config):
        path = weights_path(config, **cell)
        if not path.exists():
            raise FileNotFoundError(
                f"`output` has no trained weights {path}; train first, without `tag`"
            )
        labeller = Labeller(config, data, **cell)
        labeller.model.load_weights(path)
        found = [marked(p, entities(t)) for p, t in zip(parts, labeller.tag(parts), strict=True)]
        print(f"{cell_name(**cell)}: {''.join(found)}")


# ---- main


def main(config):
    unknown = [name for name in config.methods if name not in METHODS]
    if unknown:
        raise ValueError(f"`methods` must be among {tuple(METHODS)}. Received: {unknown[0]!r}")
    experiments.check_least(
        config, epochs=1, batch_size=1, maxlen=3, limit=0, hold_out=0, num_layers=0
    )
    free = ("methods", "num_layers", "seeds", "tag", "output")
    options = experiments.options_of(config, free)
    experiment = experiments.Experiment(config.output / "results.json", options)
    data = Data(config)
    if config.tag:
        tag(config, data)
        return
    print(
        f"{len(data.train)} training sentences, {len(data.valid)} held out; "
        f"{len(data.labels)} labels"
    )
    run(config, data, experiment)
    show(config, experiment)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command goes on with the next cell")
