"""bert4keras.models: `build_transformer_model`."""

import functools
import json

from kexue_keras import backend, models
from kexue_keras.compat.elsewhere import refuse
from kexue_keras.compat.keras_models import file_of
from kexue_keras.compat.settings import SETTINGS

__all__ = ["build_transformer_model"]


def __getattr__(name):
    refuse("models", name)


def build_transformer_model(
    config_path=None,
    checkpoint_path=None,
    model="bert",
    application="encoder",
    return_keras_model=True,
    **kwargs,
):
    """See `kexue_keras.models.build_transformer_model`.

    "gelu" is what `set_gelu` said; layers have `get_output_at`; the model is also saved under a
    name without `.keras`.
    """
    given = kwargs.get("hidden_act")
    if given is None and config_path is not None:
        with open(config_path, encoding="utf-8") as file:
            given = json.load(file).get("hidden_act")
    if given == "gelu" and SETTINGS["gelu"] == "tanh":
        kwargs["hidden_act"] = "gelu_tanh"
    if isinstance(model, str):
        model = model.lower()
    blueprint = models.build_transformer_model(
        config_path,
        checkpoint_path,
        model=model,
        application=application.lower(),
        return_keras_model=False,
        **kwargs,
    )
    built = blueprint.model
    for layer in built.layers:
        layer.get_output_at = functools.partial(backend.output_at, layer)
        # batches have many lengths, for each of which XLA would compile anew
        layer.supports_jit = layer.supports_jit and not backend.trains_without_xla()
    built.save = functools.partial(_save, built, built.save)
    return built if return_keras_model else blueprint


def _save(model, save, filepath, *args, **kwargs):
    return save(file_of(filepath), *args, **kwargs)
