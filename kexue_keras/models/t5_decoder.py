"""The decoder of T5 alone."""

import keras

from kexue_keras.models.graph_attention import Memory
from kexue_keras.models.t5 import T5Blueprint


@keras.saving.register_keras_serializable(package="kexue_keras")
class T5DecoderBlueprint(T5Blueprint):
    """The layers of T5's decoder: what an encoder has made, and token ids, to what comes next.

    Padding of the encoder is hidden where its Keras mask comes along, as it does when the model is
    called on the encoder's output. Of plain arrays, as `predict` takes them, nothing is hidden; in
    bert4keras it never is.

    Args:
        *args, **kwargs: see `T5Blueprint`.
    """

    has_encoder = False
    reads_context = True

    def inputs(self):
        found = super().inputs()
        found.pop("source_ids")
        context = keras.Input(
            (None, self.config["hidden_size"]), name=self.config["prefix"] + "Input-Context"
        )
        return {"context": context, **found}

    def remember(self, inputs):
        return inputs["memory"] if "memory" in inputs else Memory(inputs["context"], None)
