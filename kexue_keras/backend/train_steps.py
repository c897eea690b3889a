"""The parts of a train step that Keras keeps to itself or does otherwise on every backend."""

import functools

import keras
from keras import ops
from keras.src.backend.common.stateless_scope import in_stateless_scope

from kexue_keras.backend.scopes import undone


def replicas():
    """Number of replicas that train side by side under `tf.distribute`."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(tensor):
    """The sum over the replicas of `tf.distribute`, each of which sees a part of the batch; the
    tensor itself where one program sees all of it. Differentiable."""
    if replicas() == 1:
        return tensor
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_reduce("SUM", tensor)


def train_step(step):
    """Makes of a method `step(self, x, y, sample_weight)`, which returns the logs, the `train_step`
    that Keras calls, and calls otherwise on every backend. The method may assign variables."""

    def with_data(self, data):
        if keras.backend.backend() == "tensorflow":
            # as elsewhere before the first step: no variable is made inside a scope of ours
            self._symbolic_build(data_batch=data)
        return step(self, *keras.utils.unpack_x_y_sample_weight(data))

    def with_state(self, state, data):
        groups = (
            self.trainable_variables,
            self.non_trainable_variables,
            self.optimizer.variables,
            self.metrics_variables,
        )
        pairs = zip(groups, state, strict=True)
        mapping = [pair for group, values in pairs for pair in zip(group, values, strict=True)]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            logs = with_data(self, data)
        return logs, tuple([scope.get_current_value(v) for v in group] for group in groups)

    return with_state if keras.backend.backend() == "jax" else with_data


def apply_gradients(optimizer, gradients, variables):
    """Lets an optimizer update `variables`: like `optimizer.apply`, which on JAX knows neither loss
    scaling ("mixed_float16") nor conditions inside `fit`."""
    if keras.backend.backend() != "jax" or not in_stateless_scope():
        optimizer.apply(gradients, variables)
        return
    state = optimizer.variables
    values = [[v.value for v in group] for group in (state, variables)]
    new_values, new_state = optimizer.stateless_apply(values[0], gradients, values[1])
    for variable, value in zip([*variables, *state], [*new_values, *new_state], strict=True):
        variable.assign(value)


def track_loss(model, loss, x):
    """Adds the loss of a batch `x` to the epoch's mean of a compiled model."""
    size = ops.shape(next(part for part in keras.tree.flatten(x) if part is not None))[0]
    # Keras divides losses by the number of replicas, of which each sees a part of the batch
    model._loss_tracker.update_state(loss * replicas(), sample_weight=size)


def compiled_losses(model, y, y_pred, sample_weight=None):
    """The compiled losses of a batch, one by one, without regularizers; no metric counts them.

    Args:
        model: compiled.
        y, y_pred, sample_weight: as of `compute_loss`.

    Returns:
        List of a scalar per loss, its `loss_weights` included. Their sum, and that of what layers
        and regularizers add, is what `compute_loss` returns.
    """
    whole, found = model._compile_loss, []
    with undone():
        for loss in _compiled(model):
            one = object.__new__(type(whole))  # a shallow copy, which Keras refuses to make
            one.__dict__.update({**whole.__dict__, "_flat_losses": [loss]})
            found.append(one(y, y_pred, sample_weight))
    return found


def compiled_outputs(model, y_pred):
    """The model's outputs that have a compiled loss.

    Returns:
        List of `(name, loss, weight, output)`, in the order of `compiled_losses`; the weight is
        None or that of `loss_weights`.
    """
    losses = _compiled(model)
    if keras.tree.is_nested(y_pred):
        structure = model._compile_loss._y_pred_build_structure
        y_pred = keras.tree.pack_sequence_as(structure, keras.tree.flatten(y_pred))
    found = []
    for loss in losses:
        output = functools.reduce(lambda x, key: x[key], loss.path, y_pred)
        found.append((loss.name, loss.loss, loss.loss_weights, output))
    return found


def _compiled(model):
    whole = model._compile_loss
    if whole is None:
        raise ValueError(f"`loss` of `compile` is needed by {model.name!r}. Received: None")
    return whole._flat_losses


def sync_variables(model):
    """Makes the variables of a model in `fit` readable and writable between two steps: JAX keeps
    them apart from the model during an epoch."""
    if keras.backend.backend() == "jax":
        model.jax_state_sync()
