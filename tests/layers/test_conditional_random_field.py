"""What is special to a CRF; see also test_label_paths.py."""

import itertools

import numpy as np
import pytest
from keras import ops
from layers.test_label_paths import LABELS, LENGTH, LOGITS, TRANS, crf_score, numpy

from kexue_keras import layers


def test_log_partition_is_that_of_all_paths():
    mask = np.ones(LOGITS.shape[:2], bool)
    found = layers.label_paths.log_partition(
        ops.convert_to_tensor(LOGITS), ops.convert_to_tensor(mask), ops.convert_to_tensor(TRANS)
    )
    for logits, value in zip(LOGITS.astype("float64"), numpy(found), strict=True):
        paths = itertools.product(range(LABELS), repeat=LENGTH)
        scores = [crf_score(logits, TRANS, path) for path in paths]
        assert value == pytest.approx(np.log(np.exp(scores).sum()), rel=1e-5)


def test_transitions_start_at_zero_and_learn_faster_with_a_multiplier():
    layer = layers.ConditionalRandomField(lr_multiplier=10)
    layer(LOGITS)
    assert not numpy(layer.trans).any()
    layer.weights[0].assign(np.ones((LABELS, LABELS)))
    assert (numpy(layer.trans) == 10).all()
