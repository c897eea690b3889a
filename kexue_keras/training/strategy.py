"""The base of all ways to train: a model around a model, with two hooks."""

import contextlib
import warnings

import keras
from keras import ops, tree

from kexue_keras import backend
from kexue_keras.training.python_objective import PythonObjective

# what a wrapped model may not have of its own, because only the outermost strategy's is called
_KERAS_METHODS = ("train_step", "test_step", "compute_loss", "compute_metrics")

# name of the state of a strategy's random generator in its files
_RANDOM_STATE = "random_state"


@keras.saving.register_keras_serializable(package="kexue_keras")
class Strategy(keras.Model):
    """Trains the model it is put around; by itself exactly as Keras would.

    A strategy is compiled, fitted, evaluated, saved and loaded like any Keras model. The weights of
    the model are shared, so that after training `strategy.model` is the trained model. `evaluate`
    and `predict` do what they do without a strategy. A `keras.random.SeedGenerator` that a strategy
    has as an attribute `seed_generator` is saved with it (Keras forgets those of its layers).

    Strategies go around each other. The outermost one steps: it makes the objective of the batch
    (compiled losses, sample weights, regularizers), lets every strategy of the chain change it
    (`objective`) and the way its gradients are computed (`gradients`), the innermost first, scales
    the loss of mixed precision, lets the optimizer update the weights once, and reports the loss
    and the metrics once. So a penalty inside adversarial training and adversarial training inside
    a penalty are the same: the penalized loss, at the perturbed table.

    Some strategies make the objective or the gradients anew, in place of what is inside them. They
    have `innermost = True` and are put around the model itself: another strategy goes around them.

    Gradients of embedding tables are dense. So a norm that the optimizer clips is that of the
    gradient; Keras alone clips, on TensorFlow, by the norm of the parts it has not yet added up.

    The files of `save_weights` are those of the strategy, optimizer included; to load them into
    the model alone, load them into a strategy around it, or save `strategy.model`.

    Args:
        model: any `keras.Model` (functional, subclassed, nested) or another strategy. It may not
            have a `train_step`, `test_step`, `compute_loss` or `compute_metrics` of its own, which
            would never be called.
        **kwargs: `name` and `trainable`. The dtype policy is that of `model`.

    Raises:
        ValueError: `model` is no Keras model, has such a method, or hides a strategy inside; it is
            a strategy that the innermost one would pass over; or a strategy is made a layer of a
            functional model, which would train without it.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import backend, training
    >>> class SignDescent(training.Strategy):
    ...     def gradients(self, compute, batch, trainer):
    ...         def signs(objective, variables):
    ...             value, gradients = compute(objective, variables)
    ...             return value, [keras.ops.sign(g) for g in gradients]
    ...         return signs
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> strategy = SignDescent(model)
    >>> strategy.compile(keras.optimizers.SGD(0.1), "mse")
    >>> history = strategy.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0)
    >>> sorted(history.history), strategy.model is model
    (['loss'], True)
    """

    innermost = False
    """Whether it passes over the objective or the gradients that it is given."""

    def __init__(self, model, **kwargs):
        _check_model(model)
        if self.innermost and isinstance(model, Strategy):
            ours, inside = type(self).__name__, type(model).__name__
            raise ValueError(
                f"`model` must be no strategy for {ours}, which passes over what is inside it; put "
                f"{inside} around {ours} if both are wanted. Received: a {inside}"
            )
        # the model casts its inputs itself: token ids that come as floats are not rounded
        super().__init__(dtype=model.dtype_policy, autocast=False, **kwargs)
        self.model = model
        self.built = model.built
        self._evaluating = False

    def objective(self, objective, batch, trainer):
        """Hook: changes what is minimized, by a penalty or another view of the batch.

        Args:
            objective: callable without arguments that runs the model and returns
                `(loss, y_pred)`: a scalar and the model's output.
            batch: tuple `(x, y, sample_weight)`.
            trainer: the outermost strategy: it has the optimizer, the compiled losses, and is
                called like the model. It may not be kept as an attribute.

        Returns:
            A callable like `objective`. Its loss is what is reported.
        """
        return objective

    def gradients(self, compute, batch, trainer):
        """Hook: changes how gradients are computed: elsewhere, combined, estimated.

        Args:
            compute: callable of an objective and a list of `keras.Variable`s. The objective
                returns `(scaled loss, auxiliary)`, `compute` that and the list of gradients.
            batch: tuple `(x, y, sample_weight)`.
            trainer: the outermost strategy.

        Returns:
            A callable like `compute`. A pass of the model that is only a means belongs into
            `backend.undone()`, so that metrics and statistics count a batch once.
        """
        return compute

    def own_loss(self, y, y_pred, sample_weight):
        """Hook: what stands for the compiled loss in `evaluate`, where none is compiled.

        Args:
            y, sample_weight: of the batch.
            y_pred: the model's output.

        Returns:
            A scalar, divided by the number of replicas as Keras's losses are; or None.
        """
        return None

    @backend.train_step
    def train_step(self, x, y, sample_weight):
        batch = (x, y, sample_weight)
        variables = self.trainable_variables

        def objective():
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
            return loss, y_pred

        def compute(objective, variables):
            return backend.value_and_grad(objective, variables)()

        for strategy in _chain(self):
            objective = strategy.objective(objective, batch, self)
            compute = strategy.gradients(compute, batch, self)

        def scaled():
            loss, y_pred = objective()
            return self.optimizer.scale_loss(loss), (loss, y_pred)

        (_, (loss, y_pred)), gradients = compute(scaled, variables)
        if variables:
            backend.apply_gradients(self.optimizer, gradients, variables)
        else:
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        backend.track_loss(self, loss, x)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        own = None
        if self.loss is None:
            own = _chain(self)[0].own_loss(y, y_pred, sample_weight)
        if own is None:
            return super().compute_loss(x, y, y_pred, sample_weight, training=training)
        return own + self.additional_losses()

    def additional_losses(self):
        """The sum of what regularizers and `add_loss` add to the loss of the last pass."""
        losses = [ops.sum(ops.cast(loss, "float32")) for loss in self.losses]
        return sum(losses, ops.zeros(())) / backend.replicas()

    @property
    def supports_jit(self):
        """Whether XLA can compile the step, for Keras: on TensorFlow it cannot ask Python."""
        asks = any(isinstance(loss, PythonObjective) for loss in tree.flatten(self.loss))
        return self._supports_jit and (backend.calls_from_xla() or not asks)

    @supports_jit.setter
    def supports_jit(self, value):
        self._supports_jit = value

    def call(self, inputs, training=None):
        return self.model(inputs, training=training)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        if (generator := getattr(self, "seed_generator", None)) is not None:
            store[_RANDOM_STATE] = keras.ops.convert_to_numpy(generator.state.value)

    def load_own_variables(self, store):
        names = [name for name in store.keys() if name != _RANDOM_STATE]
        super().load_own_variables({name: store[name] for name in names})
        if _RANDOM_STATE in store.keys():
            self.seed_generator.state.assign(store[_RANDOM_STATE])

    @property
    def step_metrics(self):
        """Hook: list of metrics of a training step, updated by the other hooks. The outermost
        strategy reports them in `fit` and resets them every epoch; `evaluate` leaves them out."""
        return []

    @property
    def metrics(self):
        ours = [metric for strategy in _chain(self) for metric in strategy.step_metrics]
        kept = [id(metric) for metric in ours]
        rest = [metric for metric in super().metrics if id(metric) not in kept]
        return rest if self._evaluating else rest + ours

    def evaluate(self, *args, **kwargs):
        with self._without_step_metrics():
            return super().evaluate(*args, **kwargs)

    def test_on_batch(self, *args, **kwargs):
        with self._without_step_metrics():
            return super().test_on_batch(*args, **kwargs)

    @contextlib.contextmanager
    def _without_step_metrics(self):
        before, self._evaluating = self._evaluating, True
        try:
            yield
        finally:
            self._evaluating = before

    def compute_output_spec(self, *args, **kwargs):
        raise ValueError(
            "A strategy cannot be a layer of another model, which would train without it: wrap the "
            f"whole model, or use `.model` of the strategy. Received: {self.name!r} in a model"
        )

    @property
    def output_names(self):
        """Names of the model's outputs, by which `compile` knows losses and metrics."""
        return self.model.output_names

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "model": keras.saving.serialize_keras_object(self.model),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        return cls(**{**config, "model": model})


def _chain(strategy):
    """The strategies from the innermost to the outermost."""
    inner = _chain(strategy.model) if isinstance(strategy.model, Strategy) else []
    return [*inner, strategy]


def _check_model(model):
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a `keras.Model`. Received: {model!r}")
    if isinstance(model, Strategy):
        return
    for name in _KERAS_METHODS:
        if getattr(type(model), name) is not getattr(keras.Model, name):
            raise ValueError(
                f"`model` must leave `{name}` to Keras; a strategy would never call it. "
                f"Received: {model.name!r}, whose class {type(model).__name__} has its own"
            )
    hidden = [layer.name for layer in backend.layers_of(model) if isinstance(layer, Strategy)]
    if hidden:
        raise ValueError(
            "`model` must be a strategy or have none inside, which would never step. "
            f"Received: {model.name!r} with {hidden[0]!r} inside"
        )
