"""The families of models by their names."""

from kexue_keras.models.albert import AlbertBlueprint
from kexue_keras.models.albert_unshared import AlbertUnsharedBlueprint
from kexue_keras.models.bert import BertBlueprint
from kexue_keras.models.blueprint import Blueprint
from kexue_keras.models.electra import ElectraBlueprint
from kexue_keras.models.gpt import GptBlueprint
from kexue_keras.models.gpt2 import Gpt2Blueprint
from kexue_keras.models.gpt2_ml import Gpt2MlBlueprint
from kexue_keras.models.nezha import NezhaBlueprint
from kexue_keras.models.roberta import RobertaBlueprint
from kexue_keras.models.roformer import RoFormerBlueprint
from kexue_keras.models.roformer_v2 import RoFormerV2Blueprint
from kexue_keras.models.t5 import VERSIONS, T5Blueprint
from kexue_keras.models.t5_decoder import T5DecoderBlueprint
from kexue_keras.models.t5_encoder import T5EncoderBlueprint

_T5 = {"": T5Blueprint, "_encoder": T5EncoderBlueprint, "_decoder": T5DecoderBlueprint}
FAMILIES = {
    "bert": BertBlueprint,
    "roberta": BertBlueprint,
    "albert": AlbertBlueprint,
    "albert_unshared": AlbertUnsharedBlueprint,
    "nezha": NezhaBlueprint,
    "roformer": RoFormerBlueprint,
    "roformer_v2": RoFormerV2Blueprint,
    "electra": ElectraBlueprint,
    "gpt": GptBlueprint,
    "gpt2": Gpt2Blueprint,
    "gpt2_ml": Gpt2MlBlueprint,
    **{name + part: _T5[part] for name in ("t5", *VERSIONS) for part in _T5},
}
"""Class of blueprints by bert4keras's name of the model."""
OF_HUGGING_FACE = {
    "bert": BertBlueprint,
    "roberta": RobertaBlueprint,
    "albert": AlbertBlueprint,
    "nezha": NezhaBlueprint,
    "roformer": RoFormerBlueprint,
    "electra": ElectraBlueprint,
    "openai-gpt": GptBlueprint,
    "gpt2": Gpt2Blueprint,
    "t5": T5Blueprint,
    "mt5": T5Blueprint,
}
"""The same by `model_type` in Hugging Face's config.json."""


def family_of_name(model, model_type=None, config_path=None):
    """The class of blueprints that `build_transformer_model` is asked for.

    Args:
        model: a name, a class of blueprints, or None.
        model_type: that of Hugging Face's config.json, or None.
        config_path: its path, for the messages.

    Example:

    >>> from kexue_keras.models.families import family_of_name
    >>> family_of_name("gpt2").__name__, family_of_name(None, "mt5").__name__
    ('Gpt2Blueprint', 'T5Blueprint')
    """
    if isinstance(model, type) and issubclass(model, Blueprint):
        return model
    if model_type is not None and model in (None, model_type):
        if model_type in OF_HUGGING_FACE:
            return OF_HUGGING_FACE[model_type]
        if model is None:
            raise ValueError(
                f"`model` must be given with `config_path` {config_path}, whose `model_type` is "
                f"none of {tuple(OF_HUGGING_FACE)}. Received: model_type={model_type!r}"
            )
    if model is None:
        return BertBlueprint
    if not isinstance(model, str) or model not in FAMILIES:
        raise ValueError(
            f"`model` must be one of {tuple(FAMILIES)} or a class of blueprints. "
            f"Received: {model!r}"
        )
    return FAMILIES[model]


def arguments_in(model):
    """Arguments that are part of a name.

    Example:

    >>> from kexue_keras.models.families import arguments_in
    >>> arguments_in("mt5.1.1_encoder"), arguments_in("bert")
    ({'version': 'mt5.1.1'}, {})
    """
    if not isinstance(model, str) or FAMILIES.get(model) not in _T5.values():
        return {}
    version = model.split("_")[0]
    return {"version": VERSIONS[0] if version == "t5" else version}
