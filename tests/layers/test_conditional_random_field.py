"""What is special to a CRF; see also test_label_path_layer.py."""

import numpy as np
from label_paths import LABELS, LOGITS, numpy

from kexue_keras import layers


def test_transitions_start_at_zero_and_learn_faster_with_a_multiplier():
    layer = layers.ConditionalRandomField(lr_multiplier=10)
    layer(LOGITS)
    assert not numpy(layer.trans).any()
    layer.weights[0].assign(np.ones((LABELS, LABELS)))
    assert (numpy(layer.trans) == 10).all()
