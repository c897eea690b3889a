"""Arguments of `build_transformer_model` against bert4keras's, on the same checkpoints."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras.models import build_transformer_model
from kexue_keras.models.checkpoints.weights import weights_of

pytestmark = pytest.mark.parity

SIZES = {"attention_head_size": 10, "attention_key_size": 6}
RNG = np.random.default_rng(0)
TOKEN_IDS = RNG.integers(5, 50, (2, 9)).astype("int32")
LONG = RNG.integers(5, 50, (2, 40)).astype("int32")
ROWS = {"token_ids": TOKEN_IDS, "segment_ids": np.tile(np.arange(9) > 4, (2, 1)).astype("int32")}


def paths_of(folder, **config):
    tiny = make_tiny_checkpoint(folder, **config)
    return {"config_path": tiny.config_path, "checkpoint_path": tiny.checkpoint_path}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return paths_of(tmp_path_factory.mktemp("arguments"))


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"hierarchical_position": True}, {"token_ids": LONG, "segment_ids": LONG % 2}),
        ({"hierarchical_position": 0.3}, {"token_ids": LONG, "segment_ids": LONG % 2}),
        ({"custom_position_ids": True}, {**ROWS, "position_ids": TOKEN_IDS % 32}),
        ({"shared_segment_embeddings": True}, {**ROWS, "segment_ids": TOKEN_IDS[:, ::-1]}),
        ({"residual_attention_scores": True, "num_hidden_layers": 2}, ROWS),
        ({"compound_tokens": [[7, 8], ([9, 10, 11], [0.5, 0.25, 0.25])], "with_mlm": "linear"},
         {**ROWS, "token_ids": TOKEN_IDS % 50 + 2 * (TOKEN_IDS > 47)}),
        ({"compound_tokens": [[1, 2]], "keep_tokens": list(range(1, 50, 2)), "with_mlm": "linear"},
         {**ROWS, "token_ids": TOKEN_IDS % 26}),
    ],
    ids=lambda x: "+".join(x),
)  # fmt: skip
def test_predictions(bert4keras, paths, options, rows):
    expected = bert4keras.run("predict", rows, **paths, **options)["output_0"]
    model = build_transformer_model(**paths, **options)
    close(to_numpy(model.predict_on_batch(list(rows.values()))), expected)


@pytest.mark.parametrize("application", ["encoder", "unilm"])
def test_sizes_of_heads(bert4keras, tmp_path, application):
    paths = paths_of(tmp_path, **SIZES)
    options = {"application": application, "with_mlm": "linear"}
    expected = bert4keras.run("predict", ROWS, **paths, **options)["output_0"]
    model = build_transformer_model(**paths, **options)
    close(to_numpy(model.predict_on_batch(list(ROWS.values()))), expected)


@pytest.mark.parametrize("hidden", [None, 7])
def test_conditions(bert4keras, paths, hidden):
    options = {"application": "lm", "with_mlm": "linear"}
    if hidden:
        options |= {"layer_norm_cond_hidden_size": hidden, "layer_norm_cond_hidden_act": "tanh"}
    rows = {**ROWS, "labels": np.array([[1], [3]])}
    answer = bert4keras.run("predict_with_condition", rows, **paths, **options)
    labels = keras.Input((1,))
    condition = keras.layers.Embedding(4, 5, name="Label")(labels)
    condition = keras.layers.Reshape((5,))(condition)
    given = {"layer_norm_cond": condition, "additional_input_layers": labels}
    model = build_transformer_model(paths["config_path"], **options, **given)
    for layer in model.layers:
        for i, (_, variable) in enumerate(weights_of(layer)):
            variable.assign(answer[f"{layer.name}|{i}"])
    close(to_numpy(model.predict_on_batch(list(rows.values()))), answer["output_0"])
