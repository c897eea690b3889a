"""Transformer models and their checkpoints."""

# registered, so that after `import kexue_keras.models` any saved model reloads as it was compiled
import kexue_keras.losses
import kexue_keras.regularizers  # noqa: F401
from kexue_keras.models.albert import AlbertBlueprint
from kexue_keras.models.albert_unshared import AlbertUnsharedBlueprint
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
from kexue_keras.models.electra import ElectraBlueprint
from kexue_keras.models.entropic_autoencoder import EntropicAutoencoder
from kexue_keras.models.gpt import GptBlueprint
from kexue_keras.models.gpt2 import Gpt2Blueprint
from kexue_keras.models.gpt2_ml import Gpt2MlBlueprint
from kexue_keras.models.nezha import NezhaBlueprint
from kexue_keras.models.restricted import restrict_vocabulary
from kexue_keras.models.roberta import RobertaBlueprint
from kexue_keras.models.roformer import RoFormerBlueprint
from kexue_keras.models.roformer_v2 import RoFormerV2Blueprint
from kexue_keras.models.t5 import T5Blueprint
from kexue_keras.models.t5_decoder import T5DecoderBlueprint
from kexue_keras.models.t5_encoder import T5EncoderBlueprint
from kexue_keras.models.transformer import Transformer
from kexue_keras.models.variational_autoencoder import VariationalAutoencoder
from kexue_keras.models.wasserstein_gan import WassersteinGAN

__all__ = [
    "AlbertBlueprint",
    "AlbertUnsharedBlueprint",
    "Bert",
    "BertBlueprint",
    "Blueprint",
    "CheckpointError",
    "Either",
    "ElectraBlueprint",
    "Gpt2Blueprint",
    "Gpt2MlBlueprint",
    "GptBlueprint",
    "NezhaBlueprint",
    "EntropicAutoencoder",
    "Part",
    "RoFormerBlueprint",
    "RoFormerV2Blueprint",
    "RobertaBlueprint",
    "Rows",
    "T5Blueprint",
    "T5DecoderBlueprint",
    "T5EncoderBlueprint",
    "Transformer",
    "Transposed",
    "WassersteinGAN",
    "VariationalAutoencoder",
    "build_transformer_model",
    "load_bert4keras_weights",
    "load_checkpoint",
    "restrict_vocabulary",
    "save_bert4keras_weights",
    "save_checkpoint",
]
