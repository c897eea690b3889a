"""What the strategies on an embedding table share."""

import pytest
from strategy_models import bag_of_words, nested

from kexue_keras import training
from kexue_keras.training.embedding_strategy import EmbeddingStrategy

KINDS = [
    training.AdversarialTraining,
    training.GradientPenalty,
    training.VirtualAdversarialTraining,
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_is_found_by_name_wherever_it_is(kind):
    model = nested()
    strategy = kind(training.Strategy(model), "words")
    assert isinstance(strategy, EmbeddingStrategy)
    assert strategy.embedding_table() is strategy.model.trainable_variables[0]
    assert strategy.get_config()["embedding"] == "words"
    with pytest.raises(ValueError, match="exactly one layer of the name 'word'.*close to it: word"):
        kind(bag_of_words(), "word")
    with pytest.raises(ValueError, match="`embedding` must be the name of a layer with a weight"):
        kind(bag_of_words(), "logits").embedding_table()
