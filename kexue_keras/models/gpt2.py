"""GPT-2 (and CPM-LM), with bert4keras's layer names."""

import keras

from kexue_keras.models.checkpoints.names import of_layer_norm, of_norm
from kexue_keras.models.gpt import GptBlueprint

_THEIRS = {"gelu": "gelu_erf", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu"}
_UNREAD = {
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "add_cross_attention": False,
}


@keras.saving.register_keras_serializable(package="kexue_keras")
class Gpt2Blueprint(GptBlueprint):
    """The layers of GPT-2, and their order: each normalization comes before what it is for.

    There are no segments: `segment_vocab_size`, which files have for BERT, is passed over. Id 0 is
    padding, so that English GPT-2, in which it is an exclamation mark, cannot read or write that.

    Args:
        *args, **kwargs: see `GptBlueprint`.

    Reference: Radford et al. 2019, https://openai.com/research/better-language-models; CPM:
    https://kexue.fm/archives/7912
    """

    language_model_layers = ("Embedding-Token", "Output-Norm")
    hugging_face_type = "gpt2"
    hugging_face_tables = ("wte", "wpe")
    hugging_face_activation = "activation_function"
    hugging_face_defaults = {
        **GptBlueprint.hugging_face_defaults,
        "vocab_size": 50257,
        "n_positions": 1024,
        "activation_function": "gelu_new",
    }

    def __init__(self, *args, application="encoder", segment_vocab_size=0, **kwargs):
        if application == "unilm":
            raise ValueError(
                f'`application` must not be "unilm" for {type(self).__name__}, which has no '
                "segments. Received: 'unilm'"
            )
        super().__init__(*args, application=application, segment_vocab_size=0, **kwargs)

    def embed(self, inputs, positions):
        return self.add_positions(self.embed_tokens(inputs), positions)

    def block(self, x, index, attend):
        name = self.block_name(index)
        attention = self.attention(index)
        x = self.pre_norm(x, lambda x: attend(attention, x, index), attention.name)
        return self.pre_norm(x, lambda x: self.feed_forward(x, index), f"{name}-FeedForward")

    def run(self, inputs, positions, attend):
        x = self.norm(super().run(inputs, positions, attend), "Output-Norm")
        return self.dropout(x, "Output-Dropout")

    def variable_mapping(self):
        return {
            **{
                layer: [name.replace("output/LayerNorm", "input/LayerNorm") for name in names]
                for layer, names in super().variable_mapping().items()
            },
            "Output-Norm": of_norm("gpt/output/LayerNorm"),
        }

    def hugging_face_mapping(self):
        return {**super().hugging_face_mapping(), "Output-Norm": of_layer_norm("ln_f")}

    @classmethod
    def from_hugging_face(cls, config):
        for name, value in _UNREAD.items():
            if config.get(name, value) != value:
                raise ValueError(
                    f"`{name}` in config.json must be {value} for GPT-2. Received: {config[name]}"
                )
        found = super().from_hugging_face(config)
        return {**found, "hidden_act": _THEIRS.get(found["hidden_act"], found["hidden_act"])}

    def to_hugging_face(self):
        found, key = super().to_hugging_face(), self.hugging_face_activation
        theirs = {"gelu_tanh": "gelu_new", **{ours: name for name, ours in _THEIRS.items()}}
        return {**found, key: {**theirs, "gelu": "gelu_new"}.get(found[key], found[key])}
