"""The only package that asks which Keras backend runs, and that touches private names of Keras.

Gradients, compilation and the parts of a train step; all else is written with `keras.ops`.
"""

from kexue_keras.backend.assignment import assign_by_rows
from kexue_keras.backend.batch_stream import BatchStream
from kexue_keras.backend.compilation import jit, matmul_in_float32, one_program
from kexue_keras.backend.differentiation import (
    gradients_of,
    value_and_grad,
    vector_jacobian_product,
)
from kexue_keras.backend.host import calls_from_xla, host_call
from kexue_keras.backend.input_gradients import value_and_input_gradients
from kexue_keras.backend.interception import intercepted
from kexue_keras.backend.layer_search import (
    layer_behind,
    layer_of,
    layers_before,
    layers_of,
    output_at,
)
from kexue_keras.backend.platform import (
    has_fused_attention,
    loops_train_with_xla,
    on_accelerator,
    train_with_xla,
    trains_without_xla,
)
from kexue_keras.backend.scopes import random_state, replaced, undone
from kexue_keras.backend.train_steps import (
    apply_gradients,
    compiled_losses,
    compiled_outputs,
    replicas,
    sum_over_replicas,
    sync_variables,
    track_loss,
    train_step,
)

__all__ = [
    "BatchStream",
    "apply_gradients",
    "assign_by_rows",
    "calls_from_xla",
    "compiled_losses",
    "compiled_outputs",
    "gradients_of",
    "has_fused_attention",
    "host_call",
    "intercepted",
    "jit",
    "layer_behind",
    "layer_of",
    "layers_before",
    "layers_of",
    "loops_train_with_xla",
    "matmul_in_float32",
    "on_accelerator",
    "one_program",
    "output_at",
    "random_state",
    "replaced",
    "replicas",
    "sum_over_replicas",
    "sync_variables",
    "track_loss",
    "train_step",
    "train_with_xla",
    "trains_without_xla",
    "undone",
    "value_and_grad",
    "value_and_input_gradients",
    "vector_jacobian_product",
]
