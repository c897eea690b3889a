"""The table of a strategy is found by the name of its layer, and nothing else is taken for one."""

import keras
import pytest

from kexue_keras import layers, models
from kexue_keras.training.embedding_table import embedding_table

pytestmark = pytest.mark.once


def test_a_table_is_found_wherever_it_is_nested():
    bert = models.Bert(9, 8, 1, 2, 16)
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    whole = keras.Model(inputs, keras.layers.Dense(1)(bert(inputs)))
    for model in (bert, whole):
        table = embedding_table(model, "Embedding-Token")
        assert table is bert.get_layer("Embedding-Token").embeddings
    assert tuple(embedding_table(whole, "Embedding-Position").shape) == (512, 8)


def test_what_is_no_table_is_refused():
    dense = keras.layers.Dense(1, name="score")
    words = keras.layers.Embedding(5, 2, name="words")
    model = keras.Sequential([keras.Input((None,)), words, dense])
    with pytest.raises(ValueError, match="`embedding` .*'score', a Dense that has no such weight"):
        embedding_table(model, "score")
    with pytest.raises(ValueError, match="exactly one layer of the name 'word'.*close.*words"):
        embedding_table(model, "word")
    unbuilt = keras.Sequential([layers.Embedding(5, 2, name="words")])
    with pytest.raises(ValueError, match="Received: .words., a Embedding that is not built yet"):
        embedding_table(unbuilt, "words")
