"""The encoder of T5 alone."""

import keras

from kexue_keras.models.t5 import T5Blueprint


@keras.saving.register_keras_serializable(package="kexue_keras")
class T5EncoderBlueprint(T5Blueprint):
    """The layers of T5's encoder: token ids to hidden states.

    Args:
        *args, **kwargs: see `T5Blueprint`; what is the decoder's is passed over.
    """

    has_encoder = False
    stack = "Encoder"
    language_model_layers = ("Embedding-Token",)

    def __init__(self, *args, with_lm=False, with_mlm=False, num_decoder_layers=None, **kwargs):
        if with_mlm:
            raise ValueError(
                f"`with_mlm` must be left out for T5's encoder. Received: with_mlm={with_mlm!r}"
            )
        super().__init__(*args, with_lm=False, **kwargs)

    @property
    def application(self):
        return "encoder"

    def inputs(self):
        found = super().inputs()
        found["token_ids"] = found.pop("source_ids")
        return dict(sorted(found.items(), key=lambda item: item[0] != "token_ids"))
