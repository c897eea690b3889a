"""GPT (and CDial-GPT), with bert4keras's layer names."""

import keras

from kexue_keras.models.checkpoints.names import Part, of_conv1d, of_layer_norm
from kexue_keras.models.post_norm import PostNorm


@keras.saving.register_keras_serializable(package="kexue_keras")
class GptBlueprint(PostNorm):
    """The layers of OpenAI's GPT, and their order: BERT's blocks, every token seeing those before.

    Embeddings are not normalized, and logits are products with the embeddings of tokens alone.
    "gelu" is the original's: the approximation by tanh; "gelu_erf" the exact one.

    Args:
        application: "unilm", or "lm", which "encoder" means too.
        final_activation: of the logits, "softmax" or "linear". `with_mlm` must be left out.
        shared_segment_embeddings: segment ids are ids of tokens (CDial-GPT's speakers) and are
            looked up in the table of tokens; with `keep_tokens`, they are new ids.
        *args, **kwargs: see `Blueprint`. Without segments, as GPT was published,
            `segment_vocab_size` is 0.

    Reference: Radford et al. 2018, https://openai.com/research/language-unsupervised; CDial-GPT:
    https://kexue.fm/archives/7718
    """

    epsilon = 1e-5
    gelu = "gelu_tanh"
    language_model_activation = "LM-Activation"
    language_model_layers = ("Embedding-Token",)
    vocabulary_layers = ("Embedding-Token",)
    hugging_face_type = "openai-gpt"
    hugging_face_prefixes = ("transformer.", "")
    hugging_face_tables = ("tokens_embed", "positions_embed")
    """Names of the tables of tokens and of positions in Hugging Face's files."""
    hugging_face_activation = "afn"
    """Key of the activation in Hugging Face's `config.json`."""
    hugging_face_defaults = {
        "vocab_size": 40478,
        "n_positions": 512,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "afn": "gelu",
        "resid_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "layer_norm_epsilon": 1e-5,
    }

    def __init__(
        self,
        *args,
        application="encoder",
        with_mlm=False,
        final_activation="softmax",
        **kwargs,
    ):
        if with_mlm not in (False, final_activation, final_activation == "softmax"):
            raise ValueError(
                f"`with_mlm` must be left out for {type(self).__name__}; `final_activation` is "
                f"that of its logits. Received: with_mlm={with_mlm!r}"
            )
        application = "lm" if application == "encoder" else application
        super().__init__(*args, application=application, with_mlm=final_activation, **kwargs)
        self.config["final_activation"] = final_activation
        if self.embedding_size != self.config["hidden_size"]:
            raise ValueError(
                f"`embedding_size` must be `hidden_size` {self.config['hidden_size']} for "
                f"{type(self).__name__}. Received: {self.embedding_size}"
            )

    def embed(self, inputs, positions):
        x = self.add_positions(self.embed_tokens(inputs), positions)
        return self.dropout(x, "Embedding-Dropout")

    def head(self, x):
        return self.token_embedding()(x, mode="dense")

    def variable_mapping(self):
        return {
            layer: [n.replace("bert/", "gpt/").replace("encoder", "transformer") for n in names]
            for layer, names in super().variable_mapping().items()
        }

    def hugging_face_mapping(self):
        tokens, positions = self.hugging_face_tables
        mapping = {
            "Embedding-Token": [f"{tokens}.weight"],
            "Embedding-Position": [f"{positions}.weight"],
        }
        for index in range(self.depth):
            ours, theirs = self.block_name(index), f"h.{index}"
            joined = of_conv1d(f"{theirs}.attn.c_attn")
            parts = [Part(name, number, 3) for number in range(3) for name in joined]
            mapping |= {
                f"{ours}-MultiHeadSelfAttention": parts + of_conv1d(f"{theirs}.attn.c_proj"),
                f"{ours}-MultiHeadSelfAttention-Norm": of_layer_norm(f"{theirs}.ln_1"),
                f"{ours}-FeedForward": of_conv1d(f"{theirs}.mlp.c_fc", f"{theirs}.mlp.c_proj"),
                f"{ours}-FeedForward-Norm": of_layer_norm(f"{theirs}.ln_2"),
            }
        return mapping

    @classmethod
    def from_hugging_face(cls, config):
        config = {**cls.hugging_face_defaults, **config}
        return {
            "vocab_size": config["vocab_size"],
            "hidden_size": config["n_embd"],
            "num_hidden_layers": config["n_layer"],
            "num_attention_heads": config["n_head"],
            "intermediate_size": config.get("n_inner") or 4 * config["n_embd"],
            "hidden_act": config[cls.hugging_face_activation],
            "max_position": config["n_positions"],
            "segment_vocab_size": 0,
            "dropout_rate": config["resid_pdrop"],
            "attention_dropout_rate": config["attn_pdrop"],
            "epsilon": config["layer_norm_epsilon"],
        }

    def to_hugging_face(self):
        config = self.config
        return {
            "model_type": self.hugging_face_type,
            "vocab_size": self.vocab_size,
            "n_embd": config["hidden_size"],
            "n_layer": config["num_hidden_layers"],
            "n_head": config["num_attention_heads"],
            "n_inner": config["intermediate_size"],
            self.hugging_face_activation: config["hidden_act"],
            "n_positions": config["max_position"],
            "resid_pdrop": config["dropout_rate"],
            "embd_pdrop": config["dropout_rate"],
            "attn_pdrop": config["attention_dropout_rate"],
            "layer_norm_epsilon": self.epsilon,
        }
