"""The base of strategies that look at the gradient by an embedding table."""

import keras

from kexue_keras import backend
from kexue_keras.training.embedding_table import embedding_table
from kexue_keras.training.strategy import Strategy


@keras.saving.register_keras_serializable(package="kexue_keras")
class EmbeddingStrategy(Strategy):
    """A strategy that knows an embedding table by the name of its layer.

    Args:
        model: `keras.Model` or another strategy.
        embedding: name of the embedding layer, which may sit in a nested model and may be frozen.
        **kwargs: `name` and `trainable`.

    Raises:
        ValueError: no layer, or more than one, has the name `embedding`; on the first step: the
            layer has no weight `embeddings`.

    Example: see `AdversarialTraining`, which is one.
    """

    def __init__(self, model, embedding, **kwargs):
        super().__init__(model, **kwargs)
        backend.layer_of(model, embedding)
        self.embedding = embedding

    def embedding_table(self):
        """The `keras.Variable`."""
        return embedding_table(self.model, self.embedding)

    def get_config(self):
        return {**super().get_config(), "embedding": self.embedding}
