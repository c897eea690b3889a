"""What all Seq2Seq recipes share: options, vocabulary, samples to arrays, model, training.

A sample is `[CLS] source [SEP] target [SEP]`, segment 0 up to the first [SEP] and 1 after it, for a
BERT with the UniLM mask (https://kexue.fm/archives/6933). The loss is taken on the target only, and
the model computes its output only there.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Literal

import keras
from tqdm import tqdm

from kexue_keras import backend, datasets
from kexue_keras.experiments.comparison import options_of
from kexue_keras.experiments.run import Run
from kexue_keras.files import write_text
from kexue_keras.losses import SequenceCrossentropy
from kexue_keras.models import build_transformer_model
from kexue_keras.tokenizers import Tokenizer, load_vocab
from kexue_keras.tokenizers.vocabulary import check_vocabulary, is_ideograph

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_SHAPING = ("hidden_size", "num_hidden_layers", "maxlen", "max_target", "config_path", "dict_path")


@dataclasses.dataclass
class Options:
    """Options of every Seq2Seq recipe."""

    config_path: Path | None = None
    """Configuration of a pretrained BERT, bert_config.json; a small new model without it."""
    checkpoint_path: Path | None = None
    """Checkpoint of the pretrained BERT; without it, weights are random."""
    dict_path: Path | None = None
    """Vocabulary of the pretrained BERT, vocab.txt."""
    hidden_size: int = 128
    """Size of a new model."""
    num_hidden_layers: int = 2
    """Depth of a new model."""
    dropout: float = 0.1
    """Dropout rate of hidden states and attention weights."""
    maxlen: int = 192
    """Largest number of tokens of source and target."""
    max_target: int = 64
    """Largest number of tokens of a target."""
    epochs: int = 10
    """Passes over the training samples."""
    batch_size: int = 32
    """Samples in a batch."""
    learning_rate: float = 1e-3
    """Adam's; the articles take 2e-5 and less for a BERT base."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Whether the learning rate falls to zero over the epochs."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras dtype policy."""
    seed: int = 0
    """Of weights, dropout and the order of the samples."""
    output: Path = Path("runs/seq2seq")
    """Directory of the run; the same command continues an interrupted run."""

    @property
    def best_path(self):
        """Path of the best weights of the run in `output`; an error if there are none."""
        path = self.output / "best.weights.h5"
        if not path.exists():
            raise FileNotFoundError(f"`output` {self.output} has no trained weights; train first")
        return path

    def as_trained(self, *names):
        """These options, but those that shape the model, and `names`, as the run in `output` had
        them."""
        before = json.loads((self.output / "config.json").read_text(encoding="utf-8"))
        kept = {name: before[name] for name in (*_SHAPING, *names)}
        for name in ("config_path", "dict_path"):
            kept[name] = kept[name] and Path(kept[name])
        return dataclasses.replace(self, **kept, checkpoint_path=None)

    def to_json(self):
        """The options as a dict of JSON types."""
        return options_of(self)


def load_valid(paths, load, hold_out=0, held_out="held_out"):
    """Held-out samples by the names of their files.

    Args:
        paths: the option `valid`.
        load: reads the samples of a path.
        hold_out: the option of that name; without it there must be a path.
        held_out: the name that the part of the training files will have.

    Raises:
        ValueError: nothing is held out, two files have one name, or one has that of the part of
            the training files that is held out.
    """
    if not paths and not hold_out:
        raise ValueError("`valid` or `hold_out` must hold samples out. Received: neither")
    valid = {}
    for path in paths:
        name = path.name.split(".")[0]
        if hold_out and name == held_out:
            raise ValueError(
                "`valid` must not have the name of what `hold_out` holds out of the training "
                f"files. Received: {path}"
            )
        if name in valid:
            raise ValueError(f"`valid` must be files of different names. Received: {name} twice")
        valid[name] = load(path)
    return valid


def load_tokenizer(options, texts=()):
    """The tokenizer of a pretrained BERT, or one of the characters of `texts` for a new model.

    The vocabulary of a new model is kept in the run's directory and read from there afterwards.

    Returns:
        The tokenizer, and which tokens of the pretrained vocabulary it keeps (None for a new one).
    """
    if (options.config_path is None) != (options.dict_path is None):
        raise ValueError(
            "`config_path` and `dict_path` go together. "
            f"Received: {options.config_path} and {options.dict_path}"
        )
    if options.dict_path is not None:
        check_vocabulary(options.dict_path, options.config_path)
        vocab, kept = load_vocab(options.dict_path, simplified=True, startswith=SPECIAL_TOKENS)
        return Tokenizer(vocab), kept
    path = options.output / "vocab.txt"
    # without a complete epoch beside it, it may be of other options
    if not (path.exists() and (options.output / "config.json").exists()):
        characters = sorted({c for text in texts for c in text.lower() if not c.isspace()})
        continuations = ["##" + c for c in characters if c.isalnum() and not is_ideograph(c)]
        tokens = SPECIAL_TOKENS + characters + continuations
        write_text(path, "\n".join(tokens) + "\n")
    return Tokenizer(load_vocab(path)), None


def arrays(source, target):
    """A sample as `Batches` wants it.

    Args:
        source: ids of `[CLS] source [SEP]`.
        target: ids of `target [SEP]`.

    Returns:
        `((token_ids, segment_ids, target_positions), target)`, lists of int: the model predicts
        `target[i]` at position `target_positions[i]`.

    Example:

    >>> arrays([2, 7, 3], [8, 3])
    (([2, 7, 3, 8, 3], [0, 0, 0, 1, 1], [2, 3]), [8, 3])
    """
    positions = list(range(len(source) - 1, len(source) + len(target) - 1))
    return (source + target, [0] * len(source) + [1] * len(target), positions), target


def progress_bar(steps, show=True):
    """The steps, with a progress bar on a terminal."""
    return tqdm(steps, leave=False, disable=None if show else True)


def build_model(options, tokenizer, keep_tokens=None):
    """The UniLM of the options: pretrained or new, seeded, under their precision."""
    keras.utils.set_random_seed(options.seed)
    keras.config.set_dtype_policy(options.precision)
    arguments = {
        "application": "unilm",
        "with_mlm": "linear",
        "target_positions": True,
        "dropout_rate": options.dropout,
        "attention_dropout_rate": options.dropout,
    }
    if options.config_path is not None:
        return build_transformer_model(
            options.config_path, options.checkpoint_path, keep_tokens=keep_tokens, **arguments
        )
    return build_transformer_model(
        vocab_size=tokenizer.vocab_size,
        hidden_size=options.hidden_size,
        num_hidden_layers=options.num_hidden_layers,
        num_attention_heads=max(1, options.hidden_size // 32),
        intermediate_size=4 * options.hidden_size,
        max_position=options.maxlen,
        **arguments,
    )


def compile_model(model, options, steps):
    """Adam with clipped gradients; with the cosine schedule, a twentieth of the steps warms up."""
    rate = options.learning_rate
    if options.schedule == "cosine":
        warmup = max(1, steps // 20)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
        )
    model.compile(
        keras.optimizers.Adam(rate, clipnorm=1.0),
        SequenceCrossentropy(),
        jit_compile=backend.train_with_xla(),
    )


def train(model, options, samples, encode, evaluate, monitor, augment=None, may_change=()):
    """Trains, or continues the run in `options.output`, and loads its best weights.

    Args:
        model: from `build_model`.
        options: the recipe's `Options`.
        samples: training samples.
        encode: makes `arrays` of a sample.
        evaluate, monitor, may_change: see `Run`.
        augment: see `Batches`.

    Returns:
        The `Run`.
    """
    batches = datasets.Batches(
        samples,
        encode,
        batch_size=options.batch_size,
        buckets=_buckets(options.maxlen),
        seed=options.seed,
        augment=augment,
        drop_remainder=True,
    )
    compile_model(model, options, steps=options.epochs * len(batches))
    run = Run(options.output, options.to_json(), evaluate, monitor, {"output", *may_change})
    done = run.resume(model)
    if done:
        print(f"{options.output}: {done} of {options.epochs} epochs done")
    model.fit(
        batches,
        epochs=options.epochs,
        initial_epoch=done,
        shuffle=False,
        callbacks=[batches.callback(), run],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    model.load_weights(run.best_path)
    print(f"best epoch: {run.best_epoch + 1} of {len(run.history)}")
    return run


def _buckets(maxlen):
    """Lengths to pad to: few where every new shape is compiled, fine steps where none is."""
    if backend.train_with_xla():
        return (*(n for n in (16, 32, 64, 96, 128) if n < maxlen), maxlen)
    return (*range(8, maxlen, 8), maxlen)
