"""How a blueprint's blocks attend in the graph of a Keras model."""

from typing import Any, NamedTuple

from keras import ops


class Memory(NamedTuple):
    """What an encoder has read, for a decoder to look at.

    Attributes:
        states: hidden states `(batch, length, features)`; None where their keys are kept instead.
        visible: bool `(batch, 1, length)`, which of them are no padding; None: what the Keras mask
            of `states` says.
    """

    states: Any
    visible: Any


class GraphAttention:
    """Calls the attention layers of a blueprint as ordinary Keras layers on whole sequences.

    Args:
        blueprint: a `Blueprint`.
        inputs: dict of its inputs, symbolic or not.
    """

    def __init__(self, blueprint, inputs):
        self.blueprint = blueprint
        self.arguments = {"attention_mask": blueprint.attention_mask(inputs)}
        self.memory_arguments, self.scores = None, None
        positions = inputs.get("position_ids")
        if blueprint.has_position_bias:
            self.positions = _positions_of(inputs["token_ids"]) if positions is None else positions
            self.arguments["bias"] = blueprint.position_bias(self.positions, self.positions)
        elif positions is not None and blueprint.config["position"] != "learned":
            self.arguments["positions"] = positions

    def __call__(self, attention, x, index, memory=None):
        """The output of the layer `attention` of block `index`, which looks at x or a `Memory`."""
        if memory is not None:
            if self.memory_arguments is None:
                self.memory_arguments = self._of_memory(memory)
            return attention(x, memory.states, **self.memory_arguments)
        if not self.blueprint.config["residual_attention_scores"]:
            return attention(x, **self.arguments)
        given = [b for b in (self.arguments.get("bias"), self.scores) if b is not None]
        arguments = {**self.arguments, "bias": sum(given) if given else None}
        output, self.scores = attention(x, **arguments)
        return output

    def _of_memory(self, memory):
        found = {"attention_mask": memory.visible}
        if self.blueprint.has_memory_bias:
            found["bias"] = self.blueprint.memory_bias(self.positions, memory.states)
        return found


def _positions_of(x):
    """0, 1, 2, ... int32 `(1, length)`, for a symbolic or other x `(batch, length)`."""
    row = ops.ones_like(ops.max(x, axis=0, keepdims=True), dtype="int32")
    return ops.cumsum(row, axis=1) - 1
