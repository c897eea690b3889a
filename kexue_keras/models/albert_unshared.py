"""An ALBERT whose blocks begin the same and are trained apart."""

import keras

from kexue_keras.models.albert import albert_block, check_groups
from kexue_keras.models.bert import BertBlueprint


@keras.saving.register_keras_serializable(package="kexue_keras")
class AlbertUnsharedBlueprint(BertBlueprint):
    """A BERT that reads the files of ALBERT: every block begins as the one that ALBERT has.

    Trained, the blocks differ, for which ALBERT's format has no place: `save_checkpoint` writes
    BERT's names, which `model="bert"` reads, and this family again.

    Args:
        num_hidden_groups, inner_group_num: must be 1, as in all published models.
        *args, **kwargs: see `BertBlueprint`.

    Reference: Lan et al. 2019, https://arxiv.org/abs/1909.11942
    """

    def __init__(self, *args, num_hidden_groups=1, inner_group_num=1, **kwargs):
        check_groups(num_hidden_groups, inner_group_num)
        super().__init__(*args, **kwargs)

    def mapping_of_file(self, stored):
        mapping, shared = self.variable_mapping(), {}
        for index in range(self.depth):
            shared |= albert_block(self.block_name(index))
        names = next(iter(shared.values()))
        return mapping | shared if names[0] in stored else mapping
