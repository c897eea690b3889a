"""The trunk alone, in a family made up here."""

import keras
import numpy as np
from family_checks import SEGMENT_IDS, TOKEN_IDS, make, run, variables_of
from numpy_encoder import NumpyEncoder

from kexue_keras.models.post_norm import PostNorm


@keras.saving.register_keras_serializable(package="tests")
class Trunk(PostNorm):
    pass


def test_hidden_states_equal_the_formula():
    model = make(Trunk, embedding_size=12)
    reference = NumpyEncoder(variables_of(model))
    expected = [reference.hidden(*row) for row in zip(TOKEN_IDS, SEGMENT_IDS, strict=True)]
    np.testing.assert_allclose(run(model), expected, rtol=0, atol=1e-5)


def test_a_name_for_every_variable():
    model = make(Trunk, embedding_size=12)
    assert len(variables_of(model)) == len(model.weights)
    mapping = model.blueprint.hugging_face_mapping()
    assert sum(map(len, mapping.values())) == len(model.weights) - 2
    assert "Embedding-Mapping" not in mapping  # where the families differ
