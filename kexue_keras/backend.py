"""The only file that asks which Keras backend runs, and that touches private names of Keras.

Gradients, compilation and the parts of a train step; all else is written with `keras.ops`.
"""

import contextlib
import difflib
import threading

import keras
from keras import ops
from keras.src.backend.common.stateless_scope import get_stateless_scope, in_stateless_scope


class _RecordingScope(keras.StatelessScope):
    """A stateless scope that starts from the values of the scope around it and remembers which
    variables were assigned inside."""

    def __init__(self):
        super().__init__(collect_losses=True)
        self.assigned = {}
        if in_stateless_scope():
            self.state_mapping.update(get_stateless_scope().state_mapping)

    def add_update(self, update):
        variable, _ = update
        self.assigned[id(variable)] = variable
        super().add_update(update)

    def get_current_value(self, variable):
        # Keras asks the scope alone for the weights that have a regularizer
        value = super().get_current_value(variable)
        return variable._value if value is None else value


@contextlib.contextmanager
def undone():
    """A context that leaves no trace: what is assigned inside has its old value afterwards."""
    with _RecordingScope():
        yield


@contextlib.contextmanager
def replaced(variable, value):
    """A context in which `variable` has another value. The variable itself is never written, so
    that an error inside cannot leave it changed. What is assigned to others inside stays.

    >>> w, counter = keras.Variable(1.0), keras.Variable(0.0)
    >>> with replaced(w, w + 1.0):
    ...     _ = counter.assign(w * 3.0)
    >>> float(w), float(counter)
    (1.0, 6.0)
    """
    with _RecordingScope() as scope:
        scope.state_mapping[id(variable)] = ops.convert_to_tensor(value, dtype=variable.dtype)
        yield
    for key, other in scope.assigned.items():
        if other is not variable:
            other.assign(scope.state_mapping[key])


def value_and_grad(function, variables):
    """Makes a function that returns `function`'s value and its gradients.

    Works eagerly, inside `fit`, and nested (second derivatives on JAX and TensorFlow; PyTorch has
    first ones only). State that `function` changes (seeds, statistics) stays changed.

    Args:
        function: callable that returns a scalar tensor, or a tuple `(scalar, auxiliary)`; a
            ValueError if it is no scalar.
        variables: list of `keras.Variable` to differentiate by.

    Returns:
        A callable with `function`'s arguments that returns what `function` returned, and a list of
        one dense tensor per variable, zeros where the value does not depend on it.

    >>> w = keras.Variable([1.0, 2.0])
    >>> value, (gradient,) = value_and_grad(lambda: ops.sum(w**2), [w])()
    >>> [float(g) for g in gradient]
    [2.0, 4.0]
    """
    differentiate, variables = _differentiation(), list(variables)

    def evaluate(*args, **kwargs):
        output, (gradients,) = differentiate(lambda: function(*args, **kwargs), _first, variables)
        return output, gradients

    return evaluate


def gradients_of(losses, variables):
    """Like `value_and_grad`, for several losses of one forward pass.

    `losses` returns a list or tuple of scalar tensors, or a tuple of such a list and anything
    else. What comes is what it returned, and for every loss a list of a dense tensor per variable.

    >>> w = keras.Variable(3.0)
    >>> _, gradients = gradients_of(lambda: [w * 2.0, w**2], [w])()
    >>> [float(gradient) for (gradient,) in gradients]
    [2.0, 6.0]
    """
    differentiate, variables = _differentiation(), list(variables)
    return lambda *args, **kwargs: differentiate(lambda: losses(*args, **kwargs), _all, variables)


def _first(output):
    return [_scalar(output[0] if isinstance(output, tuple) else output)]


def _all(output):
    with_auxiliary = len(output) == 2 and isinstance(output[0], (list, tuple))
    return [_scalar(loss) for loss in (output[0] if with_auxiliary else output)]


def _scalar(value):
    value = ops.convert_to_tensor(value)
    if len(value.shape):
        raise ValueError(
            "A function to differentiate must return scalars. "
            f"Received: a tensor of shape {tuple(value.shape)}"
        )
    return value


def _differentiation():
    functions = (_differentiate_tensorflow, _differentiate_jax, _differentiate_torch)
    backends = dict(zip(("tensorflow", "jax", "torch"), functions, strict=True))
    return backends[_known_backend(backends)]


def _known_backend(known):
    name = keras.backend.backend()
    if name not in known:
        raise ValueError(
            f"The Keras backend must be one of {', '.join(sorted(known))} here. Received: {name}"
        )
    return name


# of TensorFlow: .depth, how many differentiations are going on; .program, whether a `jit` is traced
_inside = threading.local()


def _make_moments_twice_differentiable(nn, stop_gradient):
    """In the variance of `tf.nn.moments` (Keras's normalizations) TensorFlow stops the gradient by
    the mean, which is zero; but its derivative is not. What is added here is zero and so is its
    gradient: only inside a second differentiation anything changes."""
    original = nn.moments

    def moments(*args, **kwargs):
        mean, variance = original(*args, **kwargs)
        if getattr(_inside, "depth", 0) > 1:
            variance -= (mean - stop_gradient(mean)) ** 2
        return mean, variance

    if original.__module__ != __name__:
        nn.moments = moments


def _differentiate_tensorflow(function, scalars, variables):
    import tensorflow as tf

    _make_moments_twice_differentiable(tf.nn, tf.stop_gradient)
    values, depth = [v.value for v in variables], getattr(_inside, "depth", 0)
    with tf.GradientTape(persistent=scalars is _all) as tape:
        tape.watch(values)
        try:
            _inside.depth = depth + 1
            output = function()
        finally:
            _inside.depth = depth
        losses = scalars(output)
    found = [tape.gradient(loss, values, unconnected_gradients="zero") for loss in losses]
    return output, [[tf.convert_to_tensor(g) for g in gradients] for gradients in found]


def _differentiate_jax(function, scalars, variables):
    import jax

    recorded = {}

    def pure(values):
        with _RecordingScope() as scope:
            for variable, value in zip(variables, values, strict=True):
                scope.state_mapping[id(variable)] = value
            output = function()
        recorded.update(scope.assigned)
        updates = {key: scope.state_mapping[key] for key in scope.assigned}
        return scalars(output), (output, updates)

    current = [ops.convert_to_tensor(v.value) for v in variables]
    losses, pull, (output, updates) = jax.vjp(pure, current, has_aux=True)
    for key, variable in recorded.items():
        variable.assign(updates[key])
    units = [[ops.full_like(x, i == k) for i, x in enumerate(losses)] for k in range(len(losses))]
    return output, [pull(unit)[0] for unit in units]


def _differentiate_torch(function, scalars, variables):
    import torch

    options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
    with torch.enable_grad():
        output = function()
        losses = scalars(output)
    values = [v.value for v in variables]
    found = [list(torch.autograd.grad(loss, values, **options)) for loss in losses]
    detach = lambda x: x.detach() if isinstance(x, torch.Tensor) else x  # noqa: E731
    return keras.tree.map_structure(detach, output), found


def jit(function, variables=()):
    """Compiles `function` with XLA, one program per combination of shapes and dtypes.

    Args:
        function: callable of nested tensors to nested tensors. It must change no variable.
        variables: the `keras.Variable`s that it reads; their values at the call are taken.

    >>> w = keras.Variable(2.0)
    >>> double = jit(lambda x: w * x, variables=[w])
    >>> float(double(ops.convert_to_tensor(3.0)))
    6.0
    """
    variables = list(variables)
    name = _known_backend(("tensorflow", "jax"))

    def with_values(values, args):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*args)

    if name == "tensorflow":
        import tensorflow as tf

        def compiled(*args):
            # read here, once: a loop would carry the variables it reads, and copy them every time
            values = [tf.convert_to_tensor(v.value) for v in variables]
            before, _inside.program = getattr(_inside, "program", False), True
            try:
                return with_values(values, args)
            finally:
                _inside.program = before

        return tf.function(compiled, jit_compile=True, autograph=False)
    import jax

    pure = jax.jit(with_values)
    return lambda *args: pure([v.value for v in variables], args)


def train_with_xla():
    """Whether training steps run faster compiled by XLA here; for `compile(jit_compile=...)`.

    On a CPU, TensorFlow's own kernels are faster and take new lengths without compiling again.
    """
    name = keras.backend.backend()
    return name == "jax" or (name == "tensorflow" and on_accelerator())


def on_accelerator():
    """Whether computations run on a GPU or TPU, where products in float32 may be rounded."""
    name = keras.backend.backend()
    if name == "jax":
        import jax

        return jax.default_backend() != "cpu"
    if name == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    import torch

    return torch.cuda.is_available()


def has_fused_attention():
    """Whether `keras.ops.dot_product_attention` is one kernel that keeps no scores: JAX on
    accelerators. Elsewhere it is the same products as anybody's."""
    return keras.backend.backend() == "jax" and on_accelerator()


def matmul_in_float32(a, b):
    """Products of half-precision rows `(..., m, size)` and `(..., n, size)`, summed in float32:
    float32 `(..., m, n)`. JAX, and TensorFlow in a program of `jit`, make no float32 copy of `b`;
    TensorFlow's own kernels have no such product.

    >>> x = ops.full((1, 1), 400.0, dtype="float16")
    >>> float(matmul_in_float32(x, x)[0, 0])
    160000.0
    """
    name = keras.backend.backend()
    if name == "jax":
        import jax.numpy as jnp

        return jnp.matmul(a, jnp.swapaxes(b, -1, -2), preferred_element_type="float32")
    if name == "tensorflow" and getattr(_inside, "program", False):
        import tensorflow as tf

        return tf.raw_ops.BatchMatMulV3(x=a, y=b, Tout=tf.float32, adj_y=True)
    a, b = ops.cast(a, "float32"), ops.cast(b, "float32")
    return ops.matmul(a, ops.swapaxes(b, -1, -2))


def loops_train_with_xla():
    """Whether XLA can differentiate loops (`scan`), for `supports_jit` of a layer that needs it."""
    return keras.backend.backend() != "tensorflow"


def layers_of(model):
    """All layers inside a model or layer, those of nested models too; a list, each layer once."""
    found = model._flatten_layers(include_self=False, recursive=True)
    return list({id(layer): layer for layer in found}.values())


def layer_of(model, name):
    """The one layer of that name, wherever it is nested; a ValueError if there is none, or two."""
    found = [layer for layer in layers_of(model) if layer.name == name]
    if len(found) != 1:
        names = sorted({layer.name for layer in layers_of(model)})
        close = difflib.get_close_matches(str(name), names, n=3)
        hint = f" (close to it: {', '.join(close)})" if close and not found else ""
        raise ValueError(
            f"`model` must have exactly one layer of the name {name!r}. "
            f"Received: {model.name!r} with {len(found)}{hint}"
        )
    return found[0]


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


def sync_variables(model):
    """Makes the variables of a model in `fit` readable and writable between two steps: JAX keeps
    them apart from the model during an epoch."""
    if keras.backend.backend() == "jax":
        model.jax_state_sync()
