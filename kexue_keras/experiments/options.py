"""Options that recipes share, each with one meaning: dataclasses to inherit from.

A recipe's own dataclass inherits those that it needs, gives other defaults, and adds what only its
article has. No deep-learning framework is imported.

Example:

>>> @dataclasses.dataclass
... class Config(Table, SmallBert, HeldOut):
...     epochs: int = 5
>>> config = Config(hold_out=0.1)
>>> config.epochs, config.hold_out, config.config_path.name
(5, 0.1, 'bert_config.json')
"""

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

DATA = Path(__file__).resolve().parents[2] / "data"
"""The small samples that come with the recipes, in a checkout of the project."""


class UsageError(ValueError):
    """Something that the user of a recipe can mend: an option, or what `output` holds."""


@dataclasses.dataclass
class Files:
    """The samples."""

    train: tuple[Path, ...] = ()
    """Files of training samples; those that are held out are dropped."""
    valid: tuple[Path, ...] = ()
    """Files of held-out samples."""


@dataclasses.dataclass
class HeldOut(Files):
    """The samples, some of which are held out without a file of their own."""

    hold_out: float = 0.0
    """Share of the last file of `train` to hold out besides `valid`, always the same samples."""


@dataclasses.dataclass
class Pretrained:
    """A pretrained BERT."""

    config_path: Path | None = None
    """Configuration of a pretrained BERT, bert_config.json."""
    checkpoint_path: Path | None = None
    """Checkpoint of the pretrained BERT; without it, weights are random."""
    dict_path: Path | None = None
    """Vocabulary of the pretrained BERT, vocab.txt."""
    maxlen: int = 128
    """Largest number of tokens of a text; longer ones are cut."""
    dropout: float = 0.1
    """Dropout rate of hidden states and attention weights."""


@dataclasses.dataclass
class SmallBert(Pretrained):
    """A pretrained BERT; without options, the small one in `data/`."""

    config_path: Path | None = DATA / "small_zh" / "bert_config.json"
    checkpoint_path: Path | None = DATA / "small_zh" / "bert_model.npz"
    dict_path: Path | None = DATA / "small_zh" / "vocab.txt"


@dataclasses.dataclass
class NewModel(Pretrained):
    """A pretrained BERT, or a small new model if all its paths are None."""

    hidden_size: int = 128
    """Size of a new model, for which the paths of the pretrained one are None."""
    num_hidden_layers: int = 2
    """Depth of a new model."""


@dataclasses.dataclass
class Training:
    """How to train, and where the results go."""

    epochs: int = 10
    """Passes over the training samples."""
    batch_size: int = 32
    """Samples in a batch."""
    learning_rate: float = 1e-3
    """Adam's largest; articles take 2e-5 and less for a BERT base."""
    output: Path = Path("runs/recipe")
    """Directory of the results; the same command continues what was interrupted."""


@dataclasses.dataclass
class Table(Training):
    """Trainings that are compared: the rate falls to zero, the last weights count."""

    methods: tuple[str, ...] = ()
    """Which rows of the table."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of every cell for each; the table shows mean and standard deviation."""


@dataclasses.dataclass
class SingleRun(Training):
    """One training, which is measured after every epoch: the best weights count."""

    schedule: Literal["constant", "cosine"] = "cosine"
    """Whether the learning rate falls to zero over the epochs."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras dtype policy."""
    seed: int = 0
    """Of weights, dropout, the order of the samples, and whatever is drawn."""

    @property
    def best_path(self) -> Path:
        """Path of the best weights of the run in `output`; an error if there are none."""
        path = self.output / "best.weights.h5"
        if not path.exists():
            raise FileNotFoundError(f"`output` {self.output} has no trained weights; train first")
        return path

    def as_trained(self, free: Sequence[str] = ()):
        """These options as the run in `output` had them, but for `seed` and those of `free`."""
        stored = read_json(self.best_path.with_name("config.json"))
        return as_stored(self, stored, ("output", "seed", *free))


@dataclasses.dataclass
class Generation:
    """How to write texts."""

    max_target: int = 64
    """Largest number of tokens that the model writes."""
    beams: tuple[int, ...] = (1, 3)
    """Beam sizes of the final evaluation; the first one also decodes after every epoch, the last
    one answers."""
    evaluate_samples: int = 300
    """Samples of each held-out set that are decoded after an epoch, 0: all; all are at the end."""


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UsageError: it is no valid JSON; names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON: {error}") from error


def options_of(config: Any, leave_out: Sequence[str] = ()) -> dict:
    """The fields of a dataclass in JSON types, paths as text.

    Args:
        config: an instance.
        leave_out: names of fields that do not matter.

    Example:

    >>> config = Training(epochs=3)
    >>> options_of(config, ["batch_size", "learning_rate"])
    {'epochs': 3, 'output': 'runs/recipe'}
    """
    options = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return {name: value for name, value in options.items() if name not in leave_out}


def as_stored(config: Any, stored: Mapping, free: Sequence[str] = ()) -> Any:
    """Options as `options_of` stored them beside weights, to build the same model again.

    Args:
        config: an instance of the dataclass.
        stored: from `options_of`; names that the dataclass does not have are passed over.
        free: names of options that stay as they are in `config`.

    Returns:
        Another instance; without `checkpoint_path`, since the weights are at hand.

    Example:

    >>> stored = options_of(SmallBert(maxlen=64))
    >>> as_stored(Pretrained(dropout=0.5), stored, free=["dropout"]).maxlen
    64
    """
    types = typing.get_type_hints(type(config))
    found = {
        name: _restored(value, "Path" in str(types[name]))
        for name, value in stored.items()
        if name in types and name not in free
    }
    if "checkpoint_path" in types:
        found["checkpoint_path"] = None
    return dataclasses.replace(config, **found)


def _restored(value, is_path):
    if isinstance(value, list):
        return tuple(_restored(item, is_path) for item in value)
    return Path(value) if is_path and value is not None else value


_LEAST = {
    "epochs": 1,
    "batch_size": 1,
    "maxlen": 3,
    "max_target": 1,
    "beams": 1,
    "seeds": 0,
    "limit": 0,
    "evaluate_samples": 0,
}


def check(config: Any, **limits: float | Sequence) -> None:
    """Checks options of a recipe, before anything is computed with them.

    Args:
        config: anything that has the options as attributes: numbers, texts, or tuples of them.
        limits: name of an option to its smallest value, or to all values that it may have. Those
            that mean the same in all recipes (`epochs`, `seeds`...) are checked wherever they are.

    Raises:
        UsageError: an option is too small or unknown, or a tuple is empty; names it.

    Example:

    >>> check(Table(seeds=()))
    Traceback (most recent call last):
    kexue_keras.experiments.options.UsageError: `seeds` must be at least 0. Received: ()
    """
    least = {name: limit for name, limit in _LEAST.items() if hasattr(config, name)}
    for name, limit in (least | limits).items():
        value = getattr(config, name)
        values = value if isinstance(value, tuple) else (value,)
        if isinstance(limit, int | float):
            if not values or not all(x >= limit for x in values):
                raise UsageError(f"`{name}` must be at least {limit}. Received: {value}")
        elif unknown := [x for x in values if x not in limit]:
            raise UsageError(f"`{name}` must be among {tuple(limit)}. Received: {unknown[0]!r}")
