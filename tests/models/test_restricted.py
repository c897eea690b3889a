"""A model of a few tokens gives the logits that the whole model gives them."""

import keras
import numpy as np
import pytest

from kexue_keras import models

IDS, SEGMENTS = np.array([[2, 7, 8, 3, 0], [2, 9, 3, 0, 0]]), np.zeros((2, 5), "int32")
CONFIG = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def build(**arguments):
    keras.utils.set_random_seed(0)
    model = models.Bert(**CONFIG, **arguments)
    bias = model.get_layer("MLM-Bias").bias
    bias.assign(np.linspace(-1, 1, CONFIG["vocab_size"]))
    return model


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def test_logits_equal_those_of_the_whole_vocabulary():
    model = build(with_mlm="linear")
    some = models.restrict_vocabulary(model, [5, 29, 0])
    whole = numpy(model([IDS, SEGMENTS]))[..., [5, 29, 0]]
    np.testing.assert_allclose(numpy(some([IDS, SEGMENTS])), whole, atol=1e-5)


def test_choices_equal_those_among_probabilities_at_target_positions():
    model = build(with_mlm=True, target_positions=True)
    positions = np.array([[1, 2], [1, 0]])
    inputs = [IDS, SEGMENTS, positions]
    some = numpy(models.restrict_vocabulary(model, [5, 29])(inputs))
    whole = numpy(model(inputs))[..., [5, 29]]
    assert some.shape == (2, 2, 2)
    np.testing.assert_allclose(
        some[..., 0] - some[..., 1], np.log(whole[..., 0] / whole[..., 1]), atol=1e-4
    )


def test_weights_are_shared_trained_and_reloaded(tmp_path):
    model = build(with_mlm="linear")
    before = numpy(model.get_layer("Embedding-Token").embeddings).copy()
    some = models.restrict_vocabulary(model, [5, 6])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    some.compile("sgd", loss)
    some.fit([IDS, SEGMENTS], np.ones((2, 5)), verbose=0)
    after = numpy(model.get_layer("Embedding-Token").embeddings)
    assert np.abs(after - before)[5].max() > 0 and np.abs(after - before)[20].max() == 0
    some.save(tmp_path / "some.keras")
    again = keras.models.load_model(tmp_path / "some.keras")
    expected = numpy(some([IDS, SEGMENTS]))
    np.testing.assert_allclose(numpy(again([IDS, SEGMENTS])), expected, atol=1e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match="must have a masked-LM head"):
        models.restrict_vocabulary(build_encoder(), [1])
    for ids in ([], [30], [-1]):
        with pytest.raises(ValueError, match="`token_ids` must be ids from 0 to 29"):
            models.restrict_vocabulary(build(with_mlm=True), ids)


def build_encoder():
    return models.Bert(**CONFIG)
