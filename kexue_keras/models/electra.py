"""ELECTRA's discriminator: BERT that tells replaced tokens."""

import keras
from keras import layers as keras_layers

from kexue_keras.models.checkpoints.names import of_dense, of_linear
from kexue_keras.models.post_norm import PostNorm


@keras.saving.register_keras_serializable(package="kexue_keras")
class ElectraBlueprint(PostNorm):
    """The layers of ELECTRA: the trunk of BERT, and a head that tells replaced tokens.

    It is an encoder: it has no head of a language model, so that it is neither "lm" nor "unilm".

    Args:
        with_discriminator: adds the output `(batch, length, 1)`: True means the probability that
            a token was replaced, else the name of an activation, as "linear" (above 0: replaced).
        *args, **kwargs: see `Blueprint`.

    Reference: Clark et al. 2020, https://arxiv.org/abs/2003.10555
    """

    hugging_face_type = "electra"
    hugging_face_prefixes = ("electra.", "")
    hugging_face_defaults = {
        **PostNorm.hugging_face_defaults,
        "embedding_size": 128,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    }

    def __init__(self, *args, with_discriminator=False, **kwargs):
        for name, only in (("application", "encoder"), ("with_mlm", False)):
            if kwargs.get(name, only) != only:
                raise ValueError(
                    f"`{name}` must be {only!r} in ELECTRA, which is no language model. "
                    f"Received: {kwargs[name]!r}"
                )
        super().__init__(*args, **kwargs)
        self.config["with_discriminator"] = with_discriminator

    def outputs(self, x, inputs):
        chosen = self.config["with_discriminator"]
        if not chosen:
            return [x]
        x = self.dense(
            x, self.config["hidden_size"], "Discriminator-Dense", self.config["hidden_act"]
        )
        predict = self.layer(
            "Discriminator-Prediction",
            keras_layers.Dense,
            "kernel_initializer",
            units=1,
            activation="sigmoid" if chosen is True else chosen,
            dtype="float32",
        )
        return [predict(x)]

    def variable_mapping(self):
        mapping = super().variable_mapping()
        mapping["Embedding-Mapping"] = of_dense("bert/embeddings_project")
        mapping = {
            layer: [name.replace("bert/", "electra/", 1) for name in names]
            for layer, names in mapping.items()
        }
        head = "discriminator_predictions"
        return mapping | {
            "Discriminator-Dense": of_dense(f"{head}/dense"),
            "Discriminator-Prediction": of_dense(f"{head}/dense_1"),
        }

    def hugging_face_mapping(self):
        head = "discriminator_predictions"
        return super().hugging_face_mapping() | {
            "Embedding-Mapping": of_linear("embeddings_project"),
            "Discriminator-Dense": of_linear(f"{head}.dense"),
            "Discriminator-Prediction": of_linear(f"{head}.dense_prediction"),
        }

    def to_hugging_face(self):
        return {**super().to_hugging_face(), "embedding_size": self.embedding_size}
