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
    names = {layer.name for layer in model.layers}
    if "MLM-Norm" not in names:
        raise ValueError(
            "`model` must have a masked-LM head (with_mlm). "
            f"Received: {model.name!r}, which has none"
        )
    table, bias = model.get_layer("Embedding-Token"), model.get_layer("MLM-Bias")
    token_ids = [int(i) for i in token_ids]
    if not token_ids or not 0 <= min(token_ids) <= max(token_ids) < table.input_dim:
        raise ValueError(
            f"`token_ids` must be ids from 0 to {table.input_dim - 1}. Received: {token_ids}"
        )
    x = table(model.get_layer("MLM-Norm").output, mode="dense", only=token_ids)
    x = bias(x, only=token_ids)
    x = keras.layers.Activation("linear", dtype="float32", name="Restricted-Logits")(x)
    return keras.Model(model.inputs, x, name=f"{model.name}_restricted")
