"""Transformer models and their checkpoints."""

# registered, so that after `import kexue_keras.models` any saved model reloads as it was compiled
import kexue_keras.losses
import kexue_keras.regularizers  # noqa: F401
from kexue_keras.models.bert import Bert, BertBlueprint
from kexue_keras.models.blueprint import Blueprint
from kexue_keras.models.builder import build_transformer_model
from kexue_keras.models.checkpoints.bert4keras import (
    load_bert4keras_weights,
    save_bert4keras_weights,
)
from kexue_keras.models.checkpoints.names import Either, Part, Rows, Transposed
from kexue_keras.models.checkpoints.storage import load_checkpoint, save_checkpoint
from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError
from kexue_keras.models.restricted import restrict_vocabulary
from kexue_keras.models.roberta import RobertaBlueprint
from kexue_keras.models.transformer import Transformer

__all__ = [
    "Bert",
    "BertBlueprint",
    "Blueprint",
    "CheckpointError",
    "Either",
    "Part",
    "RobertaBlueprint",
    "Rows",
    "Transformer",
    "Transposed",
    "build_transformer_model",
    "load_bert4keras_weights",
    "load_checkpoint",
    "restrict_vocabulary",
    "save_bert4keras_weights",
    "save_checkpoint",
]
