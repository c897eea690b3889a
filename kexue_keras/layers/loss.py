"""A loss that is a layer, for losses of several inputs and outputs at once."""

import keras
from keras import tree


@keras.saving.register_keras_serializable(package="kexue_keras")
class Loss(keras.layers.Layer):
    """A layer that adds a loss of all its inputs to the model, and passes the inputs on.

    A loss function of Keras sees one target and one output. This layer is for the loss that needs
    more: several inputs, several outputs, or their masks. Subclasses write
    `compute_loss(inputs, mask)`; the model is then compiled without a loss and fitted without
    targets. Register a subclass with Keras to save the model.

    Args:
        output_axis: which of the inputs come out: None (all of them), the number of one, or a list
            of numbers.
        **kwargs: Keras's. The dtype is float32 unless another is given, so that the loss of a
            model of half precision is computed, and its output comes out, in float32.

    Input shape: what `compute_loss` works on: a tensor or a list of tensors.

    Output shape: as `output_axis` says.

    Masking: `compute_loss` gets the masks of the inputs, for a list of inputs a list (of None where
    there is none); the chosen inputs keep theirs.

    Raises:
        ValueError: `output_axis` is not one of the inputs, or the loss is not a scalar.

    Example:

    >>> import keras
    >>> from kexue_keras import layers
    >>> class Distance(layers.Loss):
    ...     def compute_loss(self, inputs, mask=None):
    ...         return keras.ops.mean(keras.ops.square(inputs[0] - inputs[1]))
    >>> x, y = keras.Input((3,)), keras.Input((3,))
    >>> model = keras.Model([x, y], Distance(1)([y, keras.layers.Dense(3)(x)]))
    >>> model.compile("adam")
    >>> model.output.shape
    (None, 3)

    Reference: https://kexue.fm/archives/4493 and https://github.com/bojone/bert4keras
    """

    def __init__(self, output_axis=None, **kwargs):
        kwargs.setdefault("dtype", keras.config.floatx())
        super().__init__(**kwargs)
        axes = output_axis if isinstance(output_axis, list | tuple) else [output_axis]
        if not all(axis is None or isinstance(axis, int) for axis in axes):
            raise ValueError(
                "`output_axis` must be None, a number of an input, or a list of numbers. "
                f"Received: {output_axis!r}"
            )
        self.supports_masking = True
        self.output_axis = output_axis

    def compute_loss(self, inputs, mask=None):
        """The loss, to be written.

        Args:
            inputs: the layer's inputs.
            mask: their masks; for a list of inputs a list.

        Returns:
            A scalar tensor.
        """
        raise NotImplementedError(f"{type(self).__name__} must have a method `compute_loss`.")

    def call(self, inputs, mask=None):
        if mask is None and isinstance(inputs, list | tuple):
            mask = [None] * len(inputs)
        loss = self.compute_loss(inputs, mask)
        if len(loss.shape):
            raise ValueError(
                "`compute_loss` must return a scalar. Received: a tensor of shape "
                f"{tuple(loss.shape)}"
            )
        self.add_loss(loss)
        return self._chosen(inputs)

    def compute_output_spec(self, inputs, mask=None):
        # new tensors: those of the inputs are outputs of other layers
        return tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, dtype=self._dtype_of(x)), self._chosen(inputs)
        )

    def compute_mask(self, inputs, mask=None):
        return mask if mask is None else self._chosen(mask)

    def _dtype_of(self, x):
        dtype = keras.backend.standardize_dtype(x.dtype)
        return self.compute_dtype if "float" in dtype else dtype

    def _chosen(self, values):
        """Of as many values as there are inputs, those that come out."""
        if self.output_axis is None:
            return values
        several = isinstance(self.output_axis, list | tuple)
        axes = self.output_axis if several else [self.output_axis]
        count = len(values) if isinstance(values, list | tuple) else 0
        if not all(-count <= axis < count for axis in axes):
            raise ValueError(
                f"`output_axis` must number one of a list of inputs, {count} of them. "
                f"Received: {self.output_axis}"
            )
        return [values[axis] for axis in axes] if several else values[axes[0]]

    def get_config(self):
        return {**super().get_config(), "output_axis": self.output_axis}
