"""How a blueprint is laid out as a Keras model: inputs, mask, outputs."""

import keras
from keras import layers as keras_layers

from kexue_keras import layers
from kexue_keras.models.blueprint_config import MASK_MODES

# bert4keras's, so that models of two applications may share their layers
_MASK_NAMES = {"padding": "Padding", "causal": "LM", "unilm": "UniLM"}


class BlueprintGraph:
    """What a `Blueprint` knows of the Keras model around its layers."""

    def attention_mask(self, inputs):
        """Who sees whom, `(batch, length or 1, length)`, of symbolic or other `inputs`."""
        # a Performer knows by itself what comes before
        mode = "padding" if self.config["num_features"] else MASK_MODES[self.application]
        name = f"Attention-{_MASK_NAMES[mode]}-Mask"
        mask = self.layer(name, layers.AttentionMask, mode=mode, dtype=None)
        return mask(*(inputs[n] for n in ("token_ids", "segment_ids")[: 1 + (mode == "unilm")]))

    def inputs(self):
        """Symbolic inputs by name, in their order."""
        config = self.config

        def ids(name):
            return keras.Input((None,), dtype="int32", name=f"{config['prefix']}Input-{name}")

        found = {"token_ids": ids("Token")}
        if config["segment_vocab_size"]:
            found["segment_ids"] = ids("Segment")
        if config["custom_position_ids"]:
            found["position_ids"] = ids("Position")
        if config["target_positions"]:
            found["targets"] = ids("Target")
        if self.condition_model is not None:
            numbered = enumerate(self.condition_model.inputs)
            found |= {f"condition_input_{i}": tensor for i, tensor in numbered}
        elif config["condition_size"] is not None:
            name = config["prefix"] + "Input-Condition"
            found["condition"] = keras.Input((config["condition_size"],), name=name)
        return found

    def condition_of(self, inputs):
        """The condition in a dict of inputs, or that of the inputs of `condition_model`; None."""
        if "condition_input_0" not in inputs:
            return inputs.get("condition")
        model = self.condition_model
        given = [inputs[f"condition_input_{i}"] for i in range(len(model.inputs))]
        if all(x is y for x, y in zip(given, model.inputs, strict=True)):
            return model.output  # so that its layers are those of the graph
        return model(given[0] if len(given) == 1 else given)

    def outputs(self, x, inputs):
        """List of a model's outputs, of the hidden states `x`."""
        if not self.config["with_mlm"]:
            return [x]
        if "targets" in inputs:
            first_counts = self.application == "lm"
            gather = self.layer("MLM-Target", layers.GatherPositions, first_counts=first_counts)
            x = gather([x, inputs["targets"]])
        activation = "softmax" if self.config["with_mlm"] is True else self.config["with_mlm"]
        name, make = self.language_model_activation, keras_layers.Activation
        activate = self.layer(name, make, activation=activation, dtype="float32")
        return [activate(self.head(x))]

    # ---- bert4keras's interface

    def load_weights_from_checkpoint(self, path):
        """See `kexue_keras.models.load_checkpoint`."""
        from kexue_keras.models.checkpoints.storage import load_checkpoint

        load_checkpoint(self.model, path)

    def save_weights_as_checkpoint(self, path):
        """See `kexue_keras.models.save_checkpoint`."""
        from kexue_keras.models.checkpoints.storage import save_checkpoint

        save_checkpoint(self.model, path)
