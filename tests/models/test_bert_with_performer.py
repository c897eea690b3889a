"""Performer attention inside `Bert`, by the argument `num_features`."""

import keras
import numpy as np
import pytest
from contract import check_config, perturb, to_numpy

from kexue_keras import models
from kexue_keras.decoding import Generator
from kexue_keras.layers import PerformerAttention

TOKEN_IDS = np.array([[2, 7, 9, 3, 11, 12, 3], [2, 8, 3, 10, 13, 14, 3]], "int32")
SEGMENT_IDS = np.zeros_like(TOKEN_IDS)
NAME = "Transformer-{}-MultiHeadSelfAttention"


def bert(**options):
    small = dict(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2)
    return models.Bert(**(small | dict(intermediate_size=12, max_position=16) | options))


def run(model, *inputs):
    return model.predict_on_batch(list(inputs))


def test_many_features_come_near_softmax_attention():
    exact = bert()
    perturb(exact)
    for i in (0, 1):
        attention = exact.get_layer(NAME.format(i))
        for variable in attention.query_dense.weights + attention.key_dense.weights:
            variable.assign(variable * 0.4)  # scores of moderate size
    values = {variable.path: to_numpy(variable) for variable in exact.weights}
    expected = run(exact, TOKEN_IDS, SEGMENT_IDS)
    errors = []
    for num_features in (8, 8192):
        model = bert(num_features=num_features)
        for variable in model.weights:
            if not variable.path.endswith("projection"):
                variable.assign(values[variable.path])
        errors.append(np.abs(run(model, TOKEN_IDS, SEGMENT_IDS) - expected).mean())
    assert errors[1] < 0.05 and errors[1] < errors[0] / 4


def test_every_layer_has_its_own_features():
    model = bert(num_features=16)
    first, second = (model.get_layer(NAME.format(i)) for i in (0, 1))
    assert isinstance(first, PerformerAttention) and not first.causal
    assert not np.allclose(first.projection, second.projection)
    again = bert(num_features=16).get_layer(NAME.format(0))
    np.testing.assert_array_equal(again.projection, first.projection)
    assert bert(num_features=16, application="lm").get_layer(NAME.format(0)).causal


def test_padding_changes_nothing_and_config_survives():
    model = bert(num_features=16)
    perturb(model)
    check_config(model)
    expected = run(model, TOKEN_IDS, SEGMENT_IDS)
    for segment in (0, 1):
        token_ids = np.pad(TOKEN_IDS, ((0, 0), (0, 4)))
        segment_ids = np.pad(SEGMENT_IDS, ((0, 0), (0, 4)), constant_values=segment)
        found = run(model, token_ids, segment_ids)[:, :7]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_later_token_changes_no_earlier_logit():
    model = bert(num_features=16, application="lm", with_mlm="linear")
    perturb(model)
    changed = TOKEN_IDS.copy()
    changed[:, 4:] = 17
    before, after = run(model, TOKEN_IDS, SEGMENT_IDS), run(model, changed, SEGMENT_IDS)
    np.testing.assert_allclose(before[:, :4], after[:, :4], rtol=1e-4, atol=1e-5)
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-3


def test_save_and_reload(tmp_path):
    model = bert(num_features=16)
    perturb(model)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    expected = run(model, TOKEN_IDS, SEGMENT_IDS)
    np.testing.assert_allclose(run(again, TOKEN_IDS, SEGMENT_IDS), expected, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_of_softmax_attention_loads(tmp_path):
    exact, model = bert(), bert(num_features=16)
    perturb(exact)
    models.save_checkpoint(exact, tmp_path / "bert.ckpt")
    models.load_checkpoint(model, tmp_path / "bert.ckpt")
    for i in (0, 1):
        found, expected = (m.get_layer(NAME.format(i)).query_dense for m in (model, exact))
        np.testing.assert_array_equal(found.kernel, expected.kernel)


def test_what_is_refused():
    with pytest.raises(ValueError, match='`num_features` must be None for "unilm". Received: 16'):
        bert(num_features=16, application="unilm")
    with pytest.raises(ValueError, match="`attention_scale` and `normalizer` must be left out"):
        bert(num_features=16, normalizer="taylor_softmax")
    model = bert(num_features=16, application="lm", with_mlm="linear")
    with pytest.raises(ValueError, match="which can be cached. Received: PerformerAttention"):
        Generator(model, end_id=3)
