"""What multi-head attentions share."""

from keras import initializers, layers, ops


class HeadProjections(layers.Layer):
    """What multi-head attentions share: four dense projections, and heads split and merged.

    Args:
        heads: number of heads.
        head_size: size of a head; `None` means the last axis of the query divided by `heads`.
        output_size: size of the output; `None` means the last axis of the query.
        use_bias: whether the four projections have a bias.
        kernel_initializer: initializer of the four kernels.
        key_size: size of a head's queries and keys; `None` means that of its values, `head_size`.
    """

    def __init__(
        self, heads, head_size, output_size, use_bias, kernel_initializer, key_size=None, **kwargs
    ):
        super().__init__(**kwargs)
        sizes = {"heads": heads, "head_size": head_size, "output_size": output_size}
        sizes["key_size"] = key_size
        for name, value in sizes.items():
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {value}")
        self.supports_masking = True
        self.heads = heads
        self.head_size = head_size
        self.output_size = output_size
        self.key_size = key_size
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)

    def build(self, query_shape, key_shape=None, value_shape=None):
        features = query_shape[-1]
        if self.head_size is None and features % self.heads:
            raise ValueError(
                f"Without `head_size`, `heads` must divide the query's last axis {features}. "
                f"Received: heads={self.heads}"
            )
        self._head_size = self.head_size or features // self.heads
        self._key_size = self.key_size or self._head_size
        key_shape = key_shape or query_shape
        value_shape = value_shape or key_shape
        width, key_width = self.heads * self._head_size, self.heads * self._key_size
        self.query_dense = self._dense(key_width, "query", query_shape)
        self.key_dense = self._dense(key_width, "key", key_shape)
        self.value_dense = self._dense(width, "value", value_shape)
        merged_shape = (*query_shape[:-1], width)
        self.output_dense = self._dense(self.output_size or features, "output", merged_shape)

    def _dense(self, units, name, input_shape):
        dense = layers.Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )
        dense.build(input_shape)
        return dense

    def _split(self, x):
        shape = ops.shape(x)
        return ops.reshape(x, (shape[0], shape[1], self.heads, x.shape[-1] // self.heads))

    def merge_heads(self, x):
        """`(batch, length, heads, head_size)` -> the output `(batch, length, output_size)`."""
        shape = ops.shape(x)
        return self.output_dense(ops.reshape(x, (shape[0], shape[1], self.heads * self._head_size)))

    def bert4keras_weights(self):
        """bert4keras's names and this layer's variables, in bert4keras's order."""
        denses = {
            "q_dense": self.query_dense,
            "k_dense": self.key_dense,
            "v_dense": self.value_dense,
            "o_dense": self.output_dense,
        }
        return [(f"{name}/{v.name}", v) for name, dense in denses.items() for v in dense.weights]

    def compute_output_shape(self, query_shape, key_shape=None, value_shape=None):
        return (*query_shape[:-1], self.output_size or query_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "heads": self.heads,
            "head_size": self.head_size,
            "output_size": self.output_size,
            "key_size": self.key_size,
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
        }
