"""What a generator decodes with beside a transformer is a declared protocol."""

import numpy as np
import pytest
from cached_steps import randomize
from table_model import TableModel

from kexue_keras import decoding, models
from kexue_keras.decoding.cached_model import CachedModel
from kexue_keras.decoding.cached_transformer import CachedTransformer


def test_who_has_the_protocol():
    bert = randomize(models.Bert(9, 8, 1, 2, 16, application="lm", with_mlm="linear"))
    assert isinstance(CachedTransformer(bert), CachedModel)
    assert isinstance(TableModel(np.zeros((1, 2, 4, 4))), CachedModel)
    assert not isinstance(bert, CachedModel)
    cached = CachedTransformer(bert)
    results = [
        decoding.Generator(model, end_id=3, maxlen=3).beam_search([[2, 5]], topk=2)
        for model in (bert, cached)
    ]
    assert results[0] == results[1]


def test_what_has_not_is_no_model():
    class Half:
        vocab_size = 4

        def prefill(self, *_): ...

    with pytest.raises(AttributeError):
        decoding.Generator(Half(), end_id=1)
