"""The embedding table that a strategy perturbs or watches, by the name of its layer."""

import keras

from kexue_keras import backend


def embedding_table(model, name):
    """The table of the layer of that name, wherever it is nested in the model.

    Args:
        model: a built `keras.Model`.
        name: name of a layer with a weight `embeddings`, as `keras.layers.Embedding`.

    Returns:
        The `keras.Variable`, float `(input_dim, output_dim)`. It may be frozen.

    Raises:
        ValueError: no layer or more than one has the name, or it has no such weight.

    Example:

    >>> import keras
    >>> from kexue_keras.training.embedding_table import embedding_table
    >>> layers = [keras.Input((None,)), keras.layers.Embedding(7, 4, name="words")]
    >>> tuple(embedding_table(keras.Sequential(layers), "words").shape)
    (7, 4)
    """
    layer = backend.layer_of(model, name)
    table = getattr(layer, "embeddings", None) if layer.built else None
    if not isinstance(table, keras.Variable):
        state = "has no such weight" if layer.built else "is not built yet"
        raise ValueError(
            "`embedding` must be the name of a layer with a weight `embeddings`. "
            f"Received: {name!r}, a {type(layer).__name__} that {state}"
        )
    return table
