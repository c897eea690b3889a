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
        positions = inputs.get("position_ids")
        if blueprint.has_position_bias:
            if positions is None:
                positions = ops.cumsum(ops.ones_like(inputs["token_ids"]), axis=1) - 1
            self.arguments["bias"] = blueprint.position_bias(positions, positions)
        elif positions is not None and blueprint.config["position"] != "learned":
            self.arguments["positions"] = positions
        self.scores = None

    def __call__(self, attention, x, index):
        """The output of the layer `attention` of block `index`."""
        if not self.blueprint.config["residual_attention_scores"]:
            return attention(x, **self.arguments)
        given = (self.arguments.get("bias"), self.scores)
        given = [bias for bias in given if bias is not None]
        output, self.scores = attention(
            x, **{**self.arguments, "bias": sum(given) if given else None}
        )
        return output
