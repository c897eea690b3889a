import numpy as np
from contract import check_layer, to_numpy

from kexue_keras.layers import Embedding, PreviousStates

IDS = np.array([[1, 2, 0, 3], [4, 0, 6, 6]], "int32")
SEGMENTS = np.array([[0, 0, 1, 1], [1, 0, 1, 0]], "int32")


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_states_move_one_place_to_the_right(tmp_path):
    embeddings, states = normal(0, 2, 4, 3), normal(1, 2, 4, 3)
    check_layer(PreviousStates(), ([embeddings, states],), tmp_path)
    found = to_numpy(PreviousStates()([embeddings, states]))
    np.testing.assert_array_equal(found[:, 0], embeddings[:, 0])
    np.testing.assert_array_equal(found[:, 1:], states[:, :-1])


def test_a_source_keeps_its_embeddings_and_the_first_place_always(tmp_path):
    embeddings, states = normal(0, 2, 4, 3), normal(1, 2, 4, 3)
    check_layer(PreviousStates(), ([embeddings, states, SEGMENTS],), tmp_path)
    found = to_numpy(PreviousStates()([embeddings, states, SEGMENTS]))
    for row in range(2):
        for place in range(4):
            shifted = place and SEGMENTS[row, place]
            expected = states[row, place - 1] if shifted else embeddings[row, place]
            np.testing.assert_array_equal(found[row, place], expected)


def test_the_mask_is_that_of_the_embeddings():
    embedded = Embedding(7, 3, mask_zero=True)(IDS)
    found = PreviousStates()([embedded, normal(0, 2, 4, 3)])
    np.testing.assert_array_equal(to_numpy(found._keras_mask), to_numpy(embedded._keras_mask))
