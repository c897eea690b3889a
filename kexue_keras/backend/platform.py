"""Which backend runs, on what, and what is fast there."""

import keras


def known_backend(known):
    """The backend's name; a ValueError if it is not among `known`."""
    name = keras.backend.backend()
    if name not in known:
        raise ValueError(
            f"The Keras backend must be one of {', '.join(sorted(known))} here. Received: {name}"
        )
    return name


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


def loops_train_with_xla():
    """Whether XLA can differentiate loops (`scan`), for `supports_jit` of a layer that needs it."""
    return keras.backend.backend() != "tensorflow"


def trains_without_xla():
    """Whether models can be trained without XLA, which compiles anew for batches of each length."""
    return keras.backend.backend() != "jax"
