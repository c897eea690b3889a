"""Variables of a model in a checkpoint: shapes, tokens that are kept, conditions."""

import keras
import numpy as np
import pytest

from kexue_keras.models import Bert, BertBlueprint, CheckpointError
from kexue_keras.models.checkpoints.checkpoint_variable import (
    CheckpointVariable,
    google_variables,
    hugging_face_variables,
    left_out,
)
from kexue_keras.models.checkpoints.names import Transposed

pytestmark = pytest.mark.once

SIZES = (20, 8, 1, 2, 12)


def test_both_tables_name_the_same_variables():
    model = Bert(*SIZES, max_position=16, with_nsp=True, with_mlm=True)
    google, other = google_variables(model), hugging_face_variables(model)
    assert len(google) == len(model.weights)
    assert [t.variable is o.variable for t, o in zip(google, other, strict=True)]
    assert google[0].name == "bert/embeddings/word_embeddings" and google[0].tokens_axis == 0
    assert other[0].name == "embeddings.word_embeddings.weight" and other[0].kept is None


def kernel_of_tokens(kept=(0, 4, 2), vocab_size=None):
    """The kernel of an untied head, `(features, tokens)`, stored the other way round."""
    variable = keras.Variable(np.zeros((3, len(kept)), "float32"), name="kernel")
    return CheckpointVariable(Transposed("lm_head.weight"), variable, None, -1, kept, vocab_size)


def test_tokens_of_a_kernel_are_its_columns():
    target = kernel_of_tokens()
    stored = np.arange(15.0).reshape(5, 3)
    target.check((5, 3), "file", "lm_head.weight")
    target.assign(stored)
    value = keras.ops.convert_to_numpy(target.variable)
    np.testing.assert_array_equal(value, stored[[0, 4, 2]].T)
    assert target.to_checkpoint().shape == (3, 3)
    message = r"file: `keep_tokens` goes up to id 4, but lm_head.weight has shape \(4, 3\)"
    with pytest.raises(CheckpointError, match=message):
        target.check((4, 3), "file", "lm_head.weight")
    with pytest.raises(CheckpointError, match="has 5 tokens, .* keeps some, has 6"):
        kernel_of_tokens(vocab_size=6).check((5, 3), "file", "lm_head.weight")
    for shape in ((5, 4), (5,), ()):
        with pytest.raises(CheckpointError, match=r"stored as .*the model's .* has shape \(3, 3\)"):
            target.check(shape, "file", "lm_head.weight")


def test_layers_of_bert_s_relatives_that_hugging_face_lacks():
    model = Bert(*SIZES, embedding_size=4, max_position=16)
    assert len(google_variables(model)) == len(model.weights)
    message = "Hugging Face's 'bert' has. Received: Embedding-Mapping, .* 0 names .* instead of 2"
    with pytest.raises(ValueError, match=message):
        hugging_face_variables(model)


def test_variables_of_conditions_are_left_out():
    assert left_out(Bert(*SIZES, max_position=16)) == []
    found = left_out(Bert(*SIZES, max_position=16, condition_size=3))
    assert found[0] == "Embedding-Norm" and len(found) == 3


def test_a_table_with_too_many_names():
    class Wrong(BertBlueprint):
        def variable_mapping(self):
            return {"Embedding-Token": ["a", "b"]}

    from kexue_keras.models import Transformer

    model = Transformer(Wrong(*SIZES, max_position=16))
    with pytest.raises(ValueError, match="`variable_mapping` of Wrong must have at most 1 names"):
        google_variables(model)
