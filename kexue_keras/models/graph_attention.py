"""How a blueprint's blocks attend in the graph of a Keras model."""

from keras import ops


class GraphAttention:
    """Calls the attention layers of a blueprint as ordinary Keras layers on whole sequences.

    Args:
        blueprint: a `Blueprint`.
        inputs: dict of its inputs, symbolic or not.
    """

    def __init__(self, blueprint, inputs):
        self.blueprint = blueprint
        self.arguments = {"attention_mask": blueprint.attention_mask(inputs)}
        if blueprint.has_position_bias:
            positions = ops.cumsum(ops.ones_like(inputs["token_ids"]), axis=1) - 1
            self.arguments["bias"] = blueprint.position_bias(positions, positions)

    def __call__(self, attention, x, index):
        """The output of the layer `attention` of block `index`."""
        return attention(x, **self.arguments)
