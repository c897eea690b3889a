"""RoFormerV2: RoFormer without biases and with norms that learn nothing."""

import keras

from kexue_keras.models.post_norm import PostNorm
from kexue_keras.models.width_scaled_normal import WidthScaledNormal


@keras.saving.register_keras_serializable(package="kexue_keras")
class RoFormerV2Blueprint(PostNorm):
    """The layers of RoFormerV2.

    Differences from RoFormer: no biases; a norm is `x / sqrt(mean(x^2) + epsilon)`, without
    weights; dropout comes before the norm of the embeddings; the language model's head is the
    table of tokens alone; another initializer. There is no pooled output.

    Args:
        position: must be "rotary".
        *args, **kwargs: see `Blueprint`. The norms know no `condition_size`.

    Reference: https://kexue.fm/archives/8998
    """

    epsilon = 1e-7
    use_bias = False
    norm_arguments = {"zero_mean": False, "center": False, "scale": False}
    hugging_face_type = "roformer"
    hugging_face_prefixes = ("roformer.", "")
    hugging_face_defaults = {
        **PostNorm.hugging_face_defaults,
        "vocab_size": 12000,
        "hidden_act": "relu",
        "layer_norm_eps": 1e-7,
    }
    language_model_layers = ("Embedding-Token",)
    language_model_activation = "Output-MLM-Activation"

    def __init__(self, *args, position="rotary", **kwargs):
        if position != "rotary":
            raise ValueError(f'`position` must be "rotary" in RoFormerV2. Received: {position!r}')
        super().__init__(*args, position=position, **kwargs)
        if self.is_conditional:
            raise ValueError(
                "`condition_size` and `condition_model` must be None in RoFormerV2, whose norms "
                "have no weights that could depend on a condition. "
                f"Received: {self.config['condition_size'] or self.condition_model.name}"
            )

    @property
    def initializer(self):
        return WidthScaledNormal(self.depth)

    def embed(self, inputs, positions):
        x = self.dropout(self.embed_tokens(inputs), "Embedding-Dropout")
        return self.to_hidden_size(self.norm(x, "Embedding-Norm"))

    def transform(self, x):
        if self.embedding_size != self.config["hidden_size"]:
            x = self.dense(x, self.embedding_size, "Output-Mapping")
        return self.dropout(x, "Output-MLM-Dropout")

    def head(self, x):
        return self.token_embedding()(self.transform(x), mode="dense")

    def variable_mapping(self):
        mapping = _without_biases(super().variable_mapping(), "/")
        # bert4keras neither reads nor writes this one; no published model has it
        mapping["Output-Mapping"] = ["cls/predictions/hidden_embedding_mapping_out/kernel"]
        return mapping

    def hugging_face_mapping(self):
        return _without_biases(super().hugging_face_mapping(), ".")

    def to_hugging_face(self):
        kinds = {"norm_type": "rms_norm", "use_bias": False, "rotary_value": False}
        return {**super().to_hugging_face(), **kinds}


def _without_biases(mapping, separator):
    """What of a table is left where there are no biases and norms have no weights."""
    left_out = ("bias", "beta", "gamma")
    found = {
        layer: [name for name in names if name.split(separator)[-1] not in left_out]
        for layer, names in mapping.items()
        if not layer.endswith("-Norm")
    }
    return {layer: names for layer, names in found.items() if names}
