"""bert4keras.models: `build_transformer_model`."""

import functools
import json

from kexue_keras import backend, models
from kexue_keras.compat.elsewhere import refuse
from kexue_keras.compat.keras_models import file_of
from kexue_keras.compat.settings import SETTINGS

__all__ = ["build_transformer_model"]

# families whose "gelu" is that of the original code elsewhere, not what bert4keras has for all
_WITH_TANH = ("gpt", "t5", "mt5")


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

    "gelu" is what `set_gelu` said, in all families; T5's `cross_position_bias` is True unless
    given; layers have `get_output_at`; the model is also saved under a name without `.keras`.
    """
    model = model.lower() if isinstance(model, str) else model
    given = kwargs.get("hidden_act")
    if given is None and config_path is not None:
        with open(config_path, encoding="utf-8") as file:
            given = json.load(file).get("hidden_act")
    names = given if isinstance(given, list) else [given]
    original = isinstance(model, str) and model.startswith(_WITH_TANH)
    if "gelu" in names and (original or SETTINGS["gelu"] == "tanh"):
        meant = f"gelu_{SETTINGS['gelu']}"
        names = [meant if name == "gelu" else name for name in names]
        kwargs["hidden_act"] = names if isinstance(given, list) else names[0]
    if isinstance(model, str) and model.startswith(("t5", "mt5")):
        kwargs = {"cross_position_bias": True, "scale_output": True, **kwargs}
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
