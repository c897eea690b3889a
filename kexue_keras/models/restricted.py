"""A masked language model that only looks at a few tokens of its vocabulary."""

import keras


def restrict_vocabulary(model, token_ids):
    """The same model with logits of some tokens alone: the rest of the vocabulary is not computed.

    Where only a few tokens are compared with each other, as the label words of PET, the product
    with the whole embedding table and its softmax are wasted: a choice among logits is the choice
    among probabilities.

    Args:
        model: a model of `build_transformer_model` with `with_mlm`; with `target_positions` too.
        token_ids: ids of the tokens, a list of int.

    Returns:
        A `keras.Model` with the inputs of `model` and, as its output, logits
        `(batch, length or targets, len(token_ids))`, float32. It shares all weights with `model`.

    Example:

    >>> from kexue_keras import models
    >>> bert = models.Bert(20, 8, 1, 2, 16, with_mlm="linear")
    >>> models.restrict_vocabulary(bert, [5, 7]).output.shape
    (None, None, 2)

    Reference: https://kexue.fm/archives/7764
    """
    layers = {layer.name: layer for layer in model.layers}
    table, bias = layers.get("Embedding-Token"), layers.get("MLM-Bias")
    if bias is None and "Output-MLM-Activation" not in layers:
        raise ValueError(
            "`model` must have a masked-LM head (with_mlm). "
            f"Received: {model.name!r}, which has none"
        )
    token_ids = [int(i) for i in token_ids]
    if not token_ids or not 0 <= min(token_ids) <= max(token_ids) < table.input_dim:
        raise ValueError(
            f"`token_ids` must be ids from 0 to {table.input_dim - 1}. Received: {token_ids}"
        )
    x = table(_states(model, layers), mode="dense", only=token_ids)
    x = x if bias is None else bias(x, only=token_ids)
    x = keras.layers.Activation("linear", dtype="float32", name="Restricted-Logits")(x)
    return keras.Model(model.inputs, x, name=f"{model.name}_restricted")


def _states(model, layers):
    """What the head multiplies by the embeddings of tokens."""
    last = max((n for n in layers if n.endswith("-FeedForward-Norm")), key=_block, default=None)
    for name in ("MLM-Norm", "Output-MLM-Dropout", "Output-Mapping", "MLM-Target", last):
        if name in layers:
            return model.get_layer(name).output
    raise ValueError(f"`model` must have hidden states of blocks. Received: {model.name!r}")


def _block(name):
    return int("0" + "".join(filter(str.isdigit, name)))
