"""The pretrained BERT of the options, and its tokenizer."""

import keras

from kexue_keras import layers
from kexue_keras.experiments.options import UsageError
from kexue_keras.models import build_transformer_model
from kexue_keras.tokenizers import Tokenizer
from kexue_keras.tokenizers.vocabulary import check_vocabulary


def check_paths(options):
    """Checks that configuration and vocabulary are given together and belong together.

    Raises:
        UsageError: one of the two is missing, or they have different numbers of tokens.
    """
    paths = options.config_path, options.dict_path
    if paths.count(None) == 1:
        raise UsageError(
            f"`config_path` and `dict_path` go together. Received: {paths[0]} and {paths[1]}"
        )
    if None not in paths:
        try:
            check_vocabulary(options.dict_path, options.config_path)
        except ValueError as error:  # which names the two files
            raise UsageError(str(error)) from error


def load_tokenizer(options):
    """The tokenizer of the whole vocabulary of a pretrained BERT.

    Args:
        options: `options.Pretrained`.
    """
    check_paths(options)
    return Tokenizer(options.dict_path)


def load_bert(options, **arguments):
    """The pretrained BERT, with the dropout of the options.

    Args:
        options: `options.Pretrained`.
        arguments: others of `build_transformer_model`.
    """
    return build_transformer_model(
        options.config_path,
        options.checkpoint_path,
        dropout_rate=options.dropout,
        attention_dropout_rate=options.dropout,
        **arguments,
    )


def load_classifier(options, labels, **arguments):
    """The pretrained BERT with a new layer "Label" on [CLS]: logits `(batch, labels)`.

    Args:
        options: `options.Pretrained`.
        labels: their number.
        arguments: others of `build_transformer_model`.
    """
    bert = load_bert(options, **arguments)
    first = layers.FirstToken(name="First")(bert.output)
    return keras.Model(bert.inputs, keras.layers.Dense(labels, name="Label")(first))


def new_model(options, vocab_size, **arguments):
    """A small BERT with random weights, of the size of the options.

    Args:
        options: `options.NewModel`.
        vocab_size: number of tokens.
        arguments: others of `build_transformer_model`.
    """
    return build_transformer_model(
        vocab_size=vocab_size,
        hidden_size=options.hidden_size,
        num_hidden_layers=options.num_hidden_layers,
        num_attention_heads=max(1, options.hidden_size // 32),
        intermediate_size=4 * options.hidden_size,
        max_position=options.maxlen,
        dropout_rate=options.dropout,
        attention_dropout_rate=options.dropout,
        **arguments,
    )
