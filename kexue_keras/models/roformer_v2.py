"""RoFormerV2: RoFormer without biases and with norms that learn nothing."""

import keras

from kexue_keras import layers
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
    language_model_layers = ("Embedding-Token",)
    language_model_activation = "Output-MLM-Activation"

    def __init__(self, *args, position="rotary", **kwargs):
        if position != "rotary":
            raise ValueError(f'`position` must be "rotary" in RoFormerV2. Received: {position!r}')
        super().__init__(*args, position=position, **kwargs)
        size = self.config["condition_size"]
        if size is not None:
            raise ValueError(
                "`condition_size` must be None in RoFormerV2, whose norms have no weights that "
                f"could depend on a condition. Received: {size}"
            )

    @property
    def initializer(self):
        return WidthScaledNormal(self.depth)

    def norm(self, x, name):
        return self.layer(
            name,
            layers.LayerNormalization,
            epsilon=self.epsilon,
            zero_mean=False,
            center=False,
            scale=False,
        )(x)

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
        mapping = {
            layer: [name for name in names if name.split("/")[-1] not in ("bias", "beta", "gamma")]
            for layer, names in super().variable_mapping().items()
        }
        # bert4keras neither reads nor writes this one; no published model has it
        mapping["Output-Mapping"] = ["cls/predictions/hidden_embedding_mapping_out/kernel"]
        return {layer: names for layer, names in mapping.items() if names}
