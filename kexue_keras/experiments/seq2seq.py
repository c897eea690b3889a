"""What all Seq2Seq recipes share: vocabulary, samples to arrays, model, training.

A sample is `[CLS] source [SEP] target [SEP]`, segment 0 up to the first [SEP] and 1 after it, for a
BERT with the UniLM mask (https://kexue.fm/archives/6933). The loss is taken on the target only, and
the model computes its output only there.
"""

import dataclasses
from pathlib import Path

import keras
import numpy as np

from kexue_keras import datasets
from kexue_keras.experiments import prediction, pretrained, schedules
from kexue_keras.experiments.buckets import buckets
from kexue_keras.experiments.fitting import compile_model
from kexue_keras.experiments.options import Generation, HeldOut, NewModel, SingleRun, options_of
from kexue_keras.experiments.run import Run
from kexue_keras.files import write_text
from kexue_keras.losses import SequenceCrossentropy
from kexue_keras.tokenizers import Tokenizer, load_vocab
from kexue_keras.tokenizers.vocabulary import is_ideograph

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
UNILM = {"application": "unilm", "with_mlm": "linear", "target_positions": True}
"""Arguments of `build_transformer_model` for a model of `arrays`."""


@dataclasses.dataclass
class Options(SingleRun, Generation, NewModel, HeldOut):
    """Options of every Seq2Seq recipe."""

    maxlen: int = 192
    """Largest number of tokens of source and target."""
    output: Path = Path("runs/seq2seq")


def load_tokenizer(options, texts=()):
    """The tokenizer of a pretrained BERT, or one of the characters of `texts` for a new model.

    The vocabulary of a new model is kept in the run's directory and read from there afterwards.

    Returns:
        The tokenizer, and which tokens of the pretrained vocabulary it keeps (None for a new one).
    """
    pretrained.check_paths(options)
    if options.dict_path is not None:
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


def plain(text):
    """A text as the tokenizer leaves it: without capitals and blanks.

    >>> plain("NBA 是 什么？")
    'nba是什么？'
    """
    return "".join(text.lower().split())


def seed_and_precision(options):
    """Begins a run of the options: seeds all random generators, sets the dtype policy."""
    keras.utils.set_random_seed(options.seed)
    keras.config.set_dtype_policy(options.precision)


def build_model(options, tokenizer, keep_tokens=None):
    """The UniLM of the options: pretrained or new, seeded, under their precision."""
    seed_and_precision(options)
    if options.config_path is not None:
        return pretrained.load_bert(options, keep_tokens=keep_tokens, **UNILM)
    return pretrained.new_model(options, tokenizer.vocab_size, **UNILM)


def prepare(options, texts=()):
    """The tokenizer and the model to train, see `load_tokenizer` and `build_model`."""
    tokenizer, keep_tokens = load_tokenizer(options, texts)
    return tokenizer, build_model(options, tokenizer, keep_tokens)


def load_trained(options):
    """The tokenizer and the model of the run in `options.output`, with its best weights.

    Args:
        options: from `as_trained`.
    """
    tokenizer, model = prepare(options)
    model.load_weights(options.best_path)
    return tokenizer, model


def perplexity(model, rows, maxlen):
    """Of the targets, per token.

    Args:
        model: from `build_model`.
        rows: of every sample its `arrays`.
        maxlen: length of the longest.
    """
    lengths = [(*range(32, maxlen, 32), maxlen)] * 4
    rows = [(*inputs, target) for inputs, target in rows]

    def losses(rows):
        *inputs, targets = prediction.pad(rows, lengths, 32)
        logits = model.predict_on_batch(inputs)
        logits = logits - logits.max(-1, keepdims=True)
        chosen = np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        found = np.log(np.exp(logits).sum(-1)) - chosen
        return [row[known] for row, known in zip(found, targets != 0, strict=True)]

    found = prediction.by_length(losses, rows, length=lambda row: len(row[0]))
    return float(np.exp(np.concatenate(found).mean(dtype="float64")))


def learning_rate(options, steps):
    """The learning rate of `schedule`: constant, or rising in a twentieth of the steps, then
    falling to zero."""
    if options.schedule == "constant":
        return options.learning_rate
    return schedules.cosine(options.learning_rate, steps)


def compile_for(model, options, steps):
    """Adam with clipped gradients and the rate of the options; the loss of the targets."""
    compile_model(model, SequenceCrossentropy(), learning_rate(options, steps))


def train(model, options, samples, encode, evaluate, monitor, augment=None, free=()):
    """Trains, or continues the run in `options.output`, and loads its best weights.

    Args:
        model: from `build_model`.
        options: the recipe's `Options`.
        samples: training samples.
        encode: makes `arrays` of a sample.
        evaluate, monitor: see `Run`.
        augment: see `Batches`.
        free: names of options that may differ when the run is continued.

    Returns:
        The `Run`.
    """
    batches = datasets.Batches(
        samples,
        encode,
        batch_size=options.batch_size,
        buckets=buckets(options.maxlen),
        seed=options.seed,
        augment=augment,
        drop_remainder=True,
    )
    compile_for(model, options, steps=options.epochs * len(batches))
    run = Run(options.output, options_of(options), evaluate, monitor, {"output", *free})
    run.train(model, options.epochs, lambda done: (batches, options.epochs))
    return run
