"""The only file that asks which Keras backend runs: gradients, compilation and the train step.

Everything else in the package is written with `keras.ops`. A training strategy (adversarial
training, gradient penalty, multi-task ...) is written once, as `TrainStep.step`, with
`value_and_grad`; it then runs inside `fit` on TensorFlow and on JAX.
"""

import ctypes
import difflib
import functools
import platform
import threading

import keras
from keras import ops
from keras.src.backend.common.stateless_scope import get_stateless_scope, in_stateless_scope

__all__ = [
    "TrainStep",
    "jit",
    "layer_of",
    "layers_of",
    "reuse_freed_memory",
    "train_with_xla",
    "value_and_grad",
]


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


def value_and_grad(function, variables):
    """Makes a function that returns `function`'s value and its gradients.

    Works eagerly, inside `fit`, and nested in another `value_and_grad` (second derivatives on
    JAX and TensorFlow alike; PyTorch has first ones only). State that `function` changes (the seed
    of a dropout layer, the statistics of a batch normalization) stays changed.

    Args:
        function: callable that returns a scalar tensor, or a tuple `(scalar, auxiliary)`.
        variables: list of `keras.Variable` to differentiate by.

    Returns:
        A callable with `function`'s arguments that returns `(value, gradients)`; `value` is what
        `function` returned and `gradients` has one dense tensor per variable, zeros where the
        value does not depend on it.

    Example:

    >>> import keras
    >>> from kexue_keras import backend
    >>> w = keras.Variable([1.0, 2.0])
    >>> value, (gradient,) = backend.value_and_grad(lambda: keras.ops.sum(w**2), [w])()
    >>> [float(g) for g in gradient]
    [2.0, 4.0]
    """
    variables = list(variables)
    backends = {
        "tensorflow": _value_and_grad_tensorflow,
        "jax": _value_and_grad_jax,
        "torch": _value_and_grad_torch,
    }
    return backends[_known_backend(backends)](function, variables)


def _known_backend(known):
    name = keras.backend.backend()
    if name not in known:
        raise ValueError(
            f"The Keras backend must be one of {', '.join(sorted(known))} here. Received: {name}"
        )
    return name


def _scalar_of(output):
    return output[0] if isinstance(output, tuple) else output


def _value_and_grad_tensorflow(function, variables):
    import tensorflow as tf

    @functools.wraps(function)
    def evaluate(*args, **kwargs):
        values = [v.value for v in variables]
        with tf.GradientTape() as tape:
            tape.watch(values)
            output = function(*args, **kwargs)
        gradients = tape.gradient(_scalar_of(output), values, unconnected_gradients="zero")
        return output, [tf.convert_to_tensor(g) for g in gradients]

    return evaluate


def _value_and_grad_jax(function, variables):
    import jax

    @functools.wraps(function)
    def evaluate(*args, **kwargs):
        recorded = {}

        def pure(values):
            with _RecordingScope() as scope:
                for variable, value in zip(variables, values, strict=True):
                    scope.state_mapping[id(variable)] = value
                output = function(*args, **kwargs)
            recorded.update(scope.assigned)
            updates = {key: scope.state_mapping[key] for key in scope.assigned}
            return _scalar_of(output), (output, updates)

        current = [ops.convert_to_tensor(v.value) for v in variables]
        (_, (output, updates)), gradients = jax.value_and_grad(pure, has_aux=True)(current)
        for key, variable in recorded.items():
            variable.assign(updates[key])
        return output, gradients

    return evaluate


def _value_and_grad_torch(function, variables):
    import torch

    @functools.wraps(function)
    def evaluate(*args, **kwargs):
        with torch.enable_grad():
            output = function(*args, **kwargs)
        values = [v.value for v in variables]
        gradients = torch.autograd.grad(_scalar_of(output), values, allow_unused=True)
        pairs = zip(gradients, values, strict=True)
        output = keras.tree.map_structure(
            lambda x: x.detach() if isinstance(x, torch.Tensor) else x, output
        )
        return output, [torch.zeros_like(v) if g is None else g for g, v in pairs]

    return evaluate


def jit(function, variables=()):
    """Compiles `function` with XLA.

    Args:
        function: callable of tensors (nested in tuples, lists, dicts) to tensors. It must change
            no variable. One program is compiled per combination of shapes and dtypes.
        variables: the `keras.Variable`s that `function` reads. JAX takes their current values on
            every call, so that later training is seen; TensorFlow reads variables by itself.

    Returns:
        The compiled callable.

    Example:

    >>> import keras
    >>> from kexue_keras import backend
    >>> w = keras.Variable(2.0)
    >>> double = backend.jit(lambda x: w * x, variables=[w])
    >>> float(double(keras.ops.convert_to_tensor(3.0)))
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
            before, _tracing.active = _tracing.active, True
            try:
                return with_values(values, args)
            finally:
                _tracing.active = before

        return tf.function(compiled, jit_compile=True, autograph=False)
    import jax

    pure = jax.jit(with_values)
    return lambda *args: pure([v.value for v in variables], args)


def train_with_xla():
    """Whether training steps run faster compiled by XLA here; for `compile(jit_compile=...)`.

    True on JAX and on accelerators. TensorFlow's own kernels are faster than XLA's on a CPU, and
    take batches of a new length without compiling again.

    Example:

    >>> import keras
    >>> from kexue_keras import backend
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse", jit_compile=backend.train_with_xla())
    """
    name = keras.backend.backend()
    return name == "jax" or (name == "tensorflow" and on_accelerator())


def on_accelerator():
    """Whether computations run on a GPU or TPU, where products in float32 may be rounded.

    Example:

    >>> from kexue_keras import backend
    >>> isinstance(backend.on_accelerator(), bool)
    True
    """
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
    """Products of rows in half precision, summed in float32.

    Args:
        a: float16 or bfloat16, `(..., m, size)`.
        b: of the same dtype, `(..., n, size)`; the other axes are broadcast.

    Returns:
        float32, `(..., m, n)`. JAX, and TensorFlow in a program of `jit`, make no float32 copy of
        `b`; TensorFlow's own kernels have no such product.

    Example:

    >>> import keras
    >>> from kexue_keras import backend
    >>> x = keras.ops.full((1, 1), 400.0, dtype="float16")
    >>> float(backend.matmul_in_float32(x, x)[0, 0])
    160000.0
    """
    name = keras.backend.backend()
    if name == "jax":
        import jax.numpy as jnp

        return jnp.matmul(a, jnp.swapaxes(b, -1, -2), preferred_element_type="float32")
    if name == "tensorflow" and _tracing.active:
        import tensorflow as tf

        return tf.raw_ops.BatchMatMulV3(x=a, y=b, Tout=tf.float32, adj_y=True)
    a, b = ops.cast(a, "float32"), ops.cast(b, "float32")
    return ops.matmul(a, ops.swapaxes(b, -1, -2))


class _Tracing(threading.local):
    """Whether this thread is tracing a program of `jit`."""

    active = False


_tracing = _Tracing()


def loops_train_with_xla():
    """Whether XLA can differentiate loops over a sequence (`scan`): not on TensorFlow.

    Layers that need it say so by `supports_jit`, which Keras heeds in `compile`.
    """
    return keras.backend.backend() != "tensorflow"


def reuse_freed_memory():
    """Makes the C library keep freed memory for the next allocation.

    TensorFlow, when it first reads a data set made of a Python generator (as `fit` does with any
    `PyDataset`), tells glibc to give memory back at once. On a CPU a training step then spends up
    to a third of its time in page faults. To be called after the first batch; does nothing on
    other backends and C libraries.

    Example:

    >>> from kexue_keras import backend
    >>> backend.reuse_freed_memory()
    """
    if keras.backend.backend() != "tensorflow" or platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_threshold = -1, -3  # parameters of mallopt(3)
    library = ctypes.CDLL(None)
    library.mallopt(trim_threshold, 1 << 30)
    library.mallopt(mmap_threshold, 1 << 30)


def layers_of(model):
    """All layers inside a model or layer, those of nested models too; a list, each layer once.

    Example:

    >>> import keras
    >>> from kexue_keras import backend
    >>> inner = keras.Sequential([keras.layers.Dense(1, name="dense")])
    >>> [layer.name for layer in backend.layers_of(keras.Sequential([inner], name="outer"))][-1]
    'dense'
    """
    found = model._flatten_layers(include_self=False, recursive=True)
    return list({id(layer): layer for layer in found}.values())


def layer_of(model, name):
    """The one layer of that name, wherever it is nested in the model.

    Args:
        model: a `keras.Model` or layer.
        name: name of the layer.

    Raises:
        ValueError: no layer has the name, or two have.

    Example:

    >>> import keras
    >>> from kexue_keras import backend
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="score")])
    >>> backend.layer_of(model, "score").units
    1
    """
    found = [layer for layer in layers_of(model) if layer.name == name]
    if len(found) != 1:
        names = sorted({layer.name for layer in layers_of(model)})
        close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
        hint = f" (close to it: {', '.join(close)})" if close and not found else ""
        raise ValueError(
            f"`model` must have exactly one layer of the name {name!r}. "
            f"Received: {model.name!r} with {len(found)}{hint}"
        )
    return found[0]


def _replicas():
    """Number of replicas that train side by side under `tf.distribute`."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


class TrainStep(keras.Model):
    """A `keras.Model` whose training step is written once for TensorFlow and JAX.

    Subclasses override `step(x, y, sample_weight)`: compute gradients with `value_and_grad`, hand
    them to `self.apply_gradients(gradients, variables)`, and return the logs. Assigning a variable
    inside `step` works on both backends; to keep a variable's value, copy it
    (`variable.value + 0`), because on TensorFlow `variable.value` follows the variable.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import backend
    >>> class SignDescent(backend.TrainStep):
    ...     def step(self, x, y, sample_weight):
    ...         loss, gradients = self.loss_and_gradients(x, y, sample_weight)
    ...         signs = [keras.ops.sign(g) for g in gradients]
    ...         self.apply_gradients(signs, self.trainable_variables)
    ...         return self.logs(loss, x)
    >>> inputs = keras.Input((2,))
    >>> model = SignDescent(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile(keras.optimizers.SGD(0.1), "mse")
    >>> history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0)
    >>> sorted(history.history)
    ['loss']
    """

    def step(self, x, y, sample_weight):
        """One update of the weights: the ordinary one unless overridden. Returns a dict of logs."""
        loss, gradients = self.loss_and_gradients(x, y, sample_weight)
        self.apply_gradients(gradients, self.trainable_variables)
        return self.logs(loss, x)

    def apply_gradients(self, gradients, variables):
        """Lets the optimizer update `variables`: like `self.optimizer.apply`, which on JAX cannot
        undo the loss scaling of "mixed_float16" inside `fit`."""
        optimizer = self.optimizer
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if keras.backend.backend() != "jax" or not scaled or not in_stateless_scope():
            optimizer.apply(gradients, variables)
            return
        targets = (variables, optimizer.variables)
        values = [[v.value for v in group] for group in targets]
        updated = optimizer.stateless_apply(values[1], gradients, values[0])
        for group, new_values in zip(targets, updated, strict=True):
            for variable, value in zip(group, new_values, strict=True):
                variable.assign(value)

    def loss_and_gradients(self, x, y=None, sample_weight=None):
        """The compiled loss of a batch and its gradients by the trainable variables.

        The gradients are of the loss as the optimizer wants it scaled (mixed precision); the loss
        is not scaled. Compiled metrics are updated.
        """

        def objective():
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
            return self.optimizer.scale_loss(loss), (loss, y_pred)

        (_, (loss, y_pred)), gradients = value_and_grad(objective, self.trainable_variables)()
        self.compute_metrics(x, y, y_pred, sample_weight)
        return loss, gradients

    def logs(self, loss, x):
        """Adds `loss` to the epoch's mean and returns the current value of every metric."""
        size = ops.shape(keras.tree.flatten(x)[0])[0]
        # `compute_loss` divides by the replicas of `tf.distribute`, of which each sees a part
        self._loss_tracker.update_state(loss * _replicas(), sample_weight=size)
        return self.get_metrics_result()

    if keras.backend.backend() == "jax":

        def train_step(self, state, data):
            groups = (
                self.trainable_variables,
                self.non_trainable_variables,
                self.optimizer.variables,
                self.metrics_variables,
            )
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            mapping = [
                pair
                for variables, values in zip(groups, state, strict=True)
                for pair in zip(variables, values, strict=True)
            ]
            with keras.StatelessScope(state_mapping=mapping) as scope:
                logs = self.step(x, y, sample_weight)
            read = scope.get_current_value
            return logs, tuple([read(v) for v in variables] for variables in groups)

    else:

        def train_step(self, data):
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            return self.step(x, y, sample_weight)


def sync_variables(model):
    """Makes the variables of a model in `fit` readable and writable between two steps.

    JAX keeps them apart from the model during an epoch; elsewhere there is nothing to do.
    """
    if keras.backend.backend() == "jax":
        model.jax_state_sync()
