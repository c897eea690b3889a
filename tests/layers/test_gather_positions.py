import keras
import numpy as np
from contract import check_layer, to_numpy

from kexue_keras.layers import GatherPositions


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_contract(tmp_path):
    positions = np.array([[4, 1, 0, 0, 2], [3, 3, 2, 0, 1]], "int32")
    # with one place less, the positions must stay inside
    check_layer(GatherPositions(), ([normal(2, 6, 3), np.minimum(positions, 3)],), tmp_path)


def test_gather_positions_picks_the_vectors():
    x = normal(2, 6, 3)
    positions = np.array([[5, 1, 0], [2, 2, 4]], "int32")
    found = to_numpy(GatherPositions()([x, positions]))
    for b in range(2):
        for i in range(3):
            np.testing.assert_array_equal(found[b, i], x[b, positions[b, i]])


def test_gather_positions_hides_the_filled_up_places():
    x, positions = keras.Input((None, 3)), keras.Input((None,), dtype="int32")
    output = GatherPositions()([x, positions])
    assert output.shape == (None, None, 3)
    mask = GatherPositions().compute_mask([normal(1, 6, 3), np.array([[5, 1, 0, 0]])])
    assert to_numpy(mask).tolist() == [[True, True, False, False]]


def test_the_first_position_of_a_language_model_counts(tmp_path):
    layer, inputs = GatherPositions(first_counts=True), [normal(2, 4, 3), [[0, 1, 0], [1, 0, 0]]]
    inputs[1] = np.array(inputs[1], "int32")
    mask = to_numpy(layer.compute_mask(inputs))
    assert mask.tolist() == [[True, True, False], [True, False, False]]
    check_layer(layer, (inputs,), tmp_path)
