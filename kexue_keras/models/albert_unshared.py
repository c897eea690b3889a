"""An ALBERT whose blocks begin the same and are trained apart."""

import keras

from kexue_keras.models.albert import AlbertBlueprint, albert_block
from kexue_keras.models.checkpoints.names import Either
from kexue_keras.models.post_norm import PostNorm


@keras.saving.register_keras_serializable(package="kexue_keras")
class AlbertUnsharedBlueprint(AlbertBlueprint):
    """A BERT that reads the files of ALBERT: every block begins as the one that ALBERT has.

    Trained, the blocks differ, for which ALBERT's formats have no place: `save_checkpoint` writes
    BERT's names, which `model="bert"` reads, and this family again.

    Args: see `AlbertBlueprint`.

    Reference: Lan et al. 2019, https://arxiv.org/abs/1909.11942
    """

    def index(self, index):
        return index

    def block_name(self, index):
        return f"Transformer-{index}"

    def block_mapping(self, index):
        shared = albert_block(self.block_name(index))
        return {
            layer: [Either(name, other) for name, other in zip(names, shared[layer], strict=True)]
            for layer, names in PostNorm.block_mapping(self, index).items()
        }

    def to_hugging_face(self):
        raise ValueError(
            '`model` must share its blocks to be written in Hugging Face\'s format, as "albert" '
            "does. Received: albert_unshared"
        )
