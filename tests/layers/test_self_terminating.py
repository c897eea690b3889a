"""The self-terminating head: probabilities, the bound, and that greedy decoding stops."""

import contract
import keras
import numpy as np
import pytest
from contract import to_numpy

from kexue_keras import backend
from kexue_keras.layers import SelfTerminating

RNG = np.random.default_rng(0)
HIDDEN = RNG.normal(size=(3, 7, 6)).astype("float32") * 2


def built(**arguments):
    layer = SelfTerminating(5, end_id=3, **arguments)
    layer(HIDDEN)
    contract.perturb(layer)
    return layer


def reference(layer, hidden, mask=None):
    """One position at a time, in float64."""
    w, b, v, c = (to_numpy(x).astype("float64") for x in layer.weights)
    out = np.zeros((*hidden.shape[:2], 5))
    for i, row in enumerate(hidden.astype("float64")):
        alpha = 1.0
        for t, h in enumerate(row):
            if mask is None or mask[i, t]:
                alpha *= (1 - layer.epsilon) / (1 + np.exp(-(h @ v[:, 0] + c[0])))
            scores = np.exp(h @ w + b)
            scores[3] = 0
            out[i, t] = scores / scores.sum() * alpha
            out[i, t, 3] = 1 - alpha
    return out


def test_probabilities_equal_the_formula_and_sum_to_one():
    layer = built()
    found = np.exp(to_numpy(layer(HIDDEN)).astype("float64"))
    np.testing.assert_allclose(found, reference(layer, HIDDEN), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_the_end_never_becomes_less_probable_and_stays_above_its_bound():
    layer = built(epsilon=0.02)
    hidden = RNG.normal(size=(4, 200, 6)).astype("float32") * 10
    end = np.exp(to_numpy(layer(hidden)).astype("float64"))[..., 3]
    assert (np.diff(end, axis=1) >= -1e-6).all()
    bound = 1 - 0.98 ** np.arange(1, 201)
    assert (end >= bound - 1e-5).all()
    layer.end_dense.kernel.assign(np.zeros((6, 1)))
    layer.end_dense.bias.assign([100.0])
    end = np.exp(to_numpy(layer(hidden)).astype("float64"))[..., 3]
    np.testing.assert_allclose(end, bound[None].repeat(4, 0), rtol=1e-3)


def test_greedy_decoding_stops_after_69_tokens_even_if_the_model_never_wants_to():
    layer = built(epsilon=0.01)
    layer.end_dense.kernel.assign(np.zeros((6, 1)))
    layer.end_dense.bias.assign([100.0])
    layer.token_dense.bias.assign([100.0, 0, 0, 0, 0])
    greedy = to_numpy(layer(np.zeros((1, 80, 6), "float32"))).argmax(-1)[0]
    assert greedy[:68].tolist() == [0] * 68 and (greedy[68:] == 3).all()


def test_masked_positions_are_passed_over():
    layer = built()
    mask = np.array([[1, 1, 0, 1, 0, 1, 1]] * 3, bool)
    found = np.exp(to_numpy(layer(HIDDEN, mask=mask)))
    expected = reference(layer, HIDDEN, mask)
    np.testing.assert_allclose(found[mask], expected[mask], rtol=1e-4, atol=1e-7)
    short = np.exp(to_numpy(layer(HIDDEN[:, mask[0]])))
    np.testing.assert_allclose(found[:, mask[0]], short, rtol=1e-5)


def test_a_later_state_changes_no_earlier_output():
    layer = built()
    changed = HIDDEN.copy()
    changed[:, 4] += 5
    before, after = to_numpy(layer(HIDDEN)), to_numpy(layer(changed))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.abs(before[:, 5:] - after[:, 5:]).max() > 1e-3


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_states_are_finite(size):
    layer = built()
    assert np.isfinite(to_numpy(layer(HIDDEN * size))).all()
    contract.check_gradients(layer, (HIDDEN * abs(size),), without_gradient=("kernel", "bias"))
    hidden = keras.Variable(HIDDEN * size)
    _, (gradient,) = backend.value_and_grad(
        lambda: keras.ops.sum(layer(hidden.value)[:, 2:4]), [hidden]
    )()
    assert np.isfinite(to_numpy(gradient)).all()


@pytest.mark.parametrize("policy, tolerance", [("mixed_float16", 2e-2), ("mixed_bfloat16", 1e-1)])
def test_in_mixed_precision_the_probabilities_are_float32(policy, tolerance):
    exact = built()
    layer = SelfTerminating.from_config({**exact.get_config(), "dtype": policy})
    layer(HIDDEN)
    layer.set_weights(exact.get_weights())
    output = layer(HIDDEN)
    assert keras.backend.standardize_dtype(output.dtype) == "float32"
    found = np.exp(to_numpy(output).astype("float64"))
    np.testing.assert_allclose(found, reference(exact, HIDDEN), atol=tolerance)
    long = RNG.normal(size=(2, 200, 6)).astype("float32")
    found = np.exp(to_numpy(layer(long)).astype("float64"))
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    assert (np.diff(found[..., 3], axis=1) >= -1e-6).all()
    assert (found[..., 3] >= 1 - 0.99 ** np.arange(1, 201) - 1e-5).all()


def test_contract(tmp_path):
    contract.check_layer(built(), (HIDDEN,), tmp_path, mixed_precision=False)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`end_id` must be an id below 5. Received: 5"):
        SelfTerminating(5, end_id=5)
    with pytest.raises(ValueError, match="`epsilon` must be over 0"):
        SelfTerminating(5, end_id=1, epsilon=0)
