"""What optimizers around another optimizer have in common."""

import keras


class OptimizerWrapper(keras.optimizers.Optimizer):
    """An optimizer around another one, which steps; by itself it changes nothing.

    Learning rate, iterations and slots are those of the optimizer inside; they are saved and loaded
    with this one. A subclass writes `step`, and adds its arguments to `get_config`.

    Args:
        optimizer: a Keras optimizer, or its name or config.
        name: of this optimizer.

    Raises:
        ValueError: `optimizer` scales the loss.
    """

    def __init__(self, optimizer, name=None):
        optimizer = keras.optimizers.get(optimizer)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "`optimizer` must not scale the loss; put the scaling outside, "
                f"`LossScaleOptimizer({type(self).__name__}(...))`. Received: a LossScaleOptimizer"
            )
        super().__init__(learning_rate=0.0, name=name)  # of which no use is made
        self.optimizer = optimizer

    def build(self, variables):
        if self.built:
            return
        self.optimizer.build(variables)
        super().build(variables)

    def apply(self, grads, trainable_variables=None):
        if not self.built:
            if trainable_variables is None:
                raise ValueError("`trainable_variables` must be given until it is built.")
            self.build(list(trainable_variables))
        variables = self._trainable_variables
        if trainable_variables is not None:
            variables = list(trainable_variables)
        self.step(grads, variables)
        self._iterations.assign_add(1)

    def step(self, gradients, variables):
        """Lets the optimizer inside update `variables` by `gradients`, two lists."""
        self.optimizer.apply(gradients, variables)

    @property
    def variables(self):
        return [*super().variables, *self.optimizer.variables]

    @property
    def learning_rate(self):
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.optimizer.learning_rate = learning_rate

    @property
    def iterations(self):
        return self.optimizer.iterations

    @property
    def loss_scale_factor(self):
        return self.optimizer.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, factor):
        if hasattr(self, "optimizer"):  # Keras sets it to None before there is one
            self.optimizer.loss_scale_factor = factor

    def scale_loss(self, loss):
        return self.optimizer.scale_loss(loss)

    def finalize_variable_values(self, variables):
        self.optimizer.finalize_variable_values(variables)

    def get_config(self):
        return {
            "name": self.name,
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"], custom_objects)
        return cls(**{**config, "optimizer": optimizer})
