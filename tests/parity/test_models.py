"""Our models against bert4keras's, on the same checkpoints and weight files."""

import keras
import numpy as np
import pytest
from keras import ops
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras import losses
from kexue_keras.models import (
    build_transformer_model,
    load_bert4keras_weights,
    save_bert4keras_weights,
    save_checkpoint,
)

pytestmark = pytest.mark.parity

APPLICATIONS = ["encoder", "lm", "unilm"]
HEADS = [{}, {"with_pool": True}, {"with_mlm": "linear"}, {"with_pool": True, "with_mlm": True}]
WEIGHT_FILES = ["model.h5", "model.weights.h5", "best_model.weights"]
TOKEN_IDS = np.array(
    [[2, 7, 9, 3, 11, 12, 3, 0, 0], [2, 8, 0, 10, 3, 13, 0, 14, 3], [2, 15, 16, 3, 9, 8, 7, 6, 3]],
    "int32",
)
SEGMENT_IDS = np.array(
    [[0, 0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1, 1]],
    "int32",
)
KEPT = [0, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 30, 49]
ROWS = {"token_ids": TOKEN_IDS, "segment_ids": SEGMENT_IDS}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def paths(tiny):
    return {"config_path": tiny.config_path, "checkpoint_path": tiny.checkpoint_path}


def outputs_of(model, rows):
    outputs = model.predict_on_batch([rows["token_ids"], rows["segment_ids"]])
    return outputs if isinstance(outputs, list) else [outputs]


def assert_same_outputs(model, found, rows=ROWS, atol=1e-4):
    outputs = outputs_of(model, rows)
    assert f"output_{len(outputs)}" not in found
    for i, output in enumerate(outputs):
        expected = found[f"output_{i}"]
        assert output.shape == expected.shape
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(output, expected, rtol=0, atol=atol * scale)


@pytest.mark.parametrize("heads", HEADS, ids=lambda heads: "+".join(heads) or "hidden")
@pytest.mark.parametrize("keep_tokens", [None, KEPT], ids=["all", "kept"])
@pytest.mark.parametrize("application", APPLICATIONS)
def test_predictions(bert4keras, paths, application, keep_tokens, heads):
    rows = dict(ROWS)
    if keep_tokens is not None:
        rows["token_ids"] = np.searchsorted(keep_tokens, TOKEN_IDS)
        assert (np.array(keep_tokens)[rows["token_ids"]] == TOKEN_IDS).all()
    options = {"application": application, "keep_tokens": keep_tokens, **heads}
    found = bert4keras.run("predict", rows, **paths, **options)
    assert_same_outputs(build_transformer_model(**paths, **options), found, rows)


@pytest.mark.parametrize("options", [{"with_nsp": True}, {"hidden_act": "relu"}], ids=str)
def test_predictions_with_other_options(bert4keras, paths, options):
    found = bert4keras.run("predict", ROWS, **paths, **options)
    assert_same_outputs(build_transformer_model(**paths, **options), found)


@pytest.mark.parametrize("application", APPLICATIONS)
def test_predictions_of_a_pretrained_model(bert4keras, shared, application):
    folder = shared / "checkpoints" / "tiny_zh"
    paths = {
        "config_path": str(folder / "bert_config.json"),
        "checkpoint_path": str(folder / "bert_model.ckpt"),
    }
    with np.load(folder / "reference.npz") as reference:
        token_ids = np.where(reference["attention_mask"] == 1, reference["ids"], 0)
    segment_ids = np.zeros_like(token_ids)
    segment_ids[:, 4:] = token_ids[:, 4:] > 0
    rows = {"token_ids": token_ids, "segment_ids": segment_ids}
    options = {"application": application, "with_pool": True, "with_mlm": "linear"}
    found = bert4keras.run("predict", rows, **paths, **options)
    assert_same_outputs(build_transformer_model(**paths, **options), found, rows)


@pytest.mark.parametrize(
    "options",
    [
        {"application": "unilm", "with_mlm": "linear"},
        {"with_pool": True},
        {"with_pool": True, "with_mlm": "linear"},
        {"with_nsp": True, "with_mlm": "linear"},
        {"with_nsp": True, "with_mlm": "linear", "embedding_size": 6},
    ],
    ids=lambda options: "+".join(options),
)
@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_we_read_what_bert4keras_saved(bert4keras, tiny, tmp_path, name, options):
    path = tmp_path / name
    weights = {"config_path": tiny.config_path}
    if "embedding_size" not in options:
        weights["checkpoint_path"] = tiny.checkpoint_path
    bert4keras.run("save_weights", path=path, **weights, **options)
    found = bert4keras.run(
        "load_weights_predict", ROWS, path=path, config_path=tiny.config_path, **options
    )
    model = build_transformer_model(tiny.config_path, **options)
    load_bert4keras_weights(model, path)
    assert_same_outputs(model, found)


@pytest.mark.parametrize("keep_tokens", [None, KEPT], ids=["all", "kept"])
def test_bert4keras_reads_what_we_saved(bert4keras, paths, tiny, tmp_path, keep_tokens):
    options = {"application": "unilm", "with_pool": True, "with_mlm": "linear"}
    options["keep_tokens"] = keep_tokens
    model = build_transformer_model(**paths, **options)
    generator = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(generator.normal(0, 0.3, variable.shape))
    save_bert4keras_weights(model, tmp_path / "ours.h5")
    rows = {"token_ids": TOKEN_IDS % 16, "segment_ids": SEGMENT_IDS}
    found = bert4keras.run(
        "load_weights_predict",
        rows,
        path=tmp_path / "ours.h5",
        config_path=tiny.config_path,
        **options,
    )
    assert_same_outputs(model, found, rows)


def test_bert4keras_reads_our_checkpoints(bert4keras, tiny, tmp_path):
    options = {"with_nsp": True, "with_mlm": "linear"}
    model = build_transformer_model(tiny.config_path, **options)
    generator = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(generator.normal(0, 0.3, variable.shape))
    path = tmp_path / "ours.ckpt"
    save_checkpoint(model, path)
    found = bert4keras.run(
        "predict", ROWS, config_path=tiny.config_path, checkpoint_path=path, **options
    )
    assert_same_outputs(model, found)


class Adam(keras.optimizers.Adam):
    """With epsilon beside the corrected second moment, as bert4keras and the paper have it.

    In Keras it stands beside the uncorrected one, 30 times as large in the first step.
    """

    def update_step(self, gradient, variable, learning_rate):
        gradient = ops.add(gradient, ops.zeros(variable.shape))
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        step = ops.cast(self.iterations + 1, variable.dtype)
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (gradient**2 - v) * (1 - self.beta_2))
        corrected = m / (1 - self.beta_1**step), v / (1 - self.beta_2**step)
        change = corrected[0] / (ops.sqrt(corrected[1]) + self.epsilon)
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * change)


class WholeLogitsLoss(keras.losses.Loss):
    """`y_true`: token ids and segment ids side by side."""

    def call(self, y_true, y_pred):
        token_ids, mask = y_true[..., 0], y_true[..., 1]
        return losses.sequence_crossentropy(token_ids, mask, y_pred)


def test_training_losses(bert4keras, paths):
    steps, learning_rate = 5, 1e-3
    generator = np.random.default_rng(1)
    token_ids = np.stack([np.where(TOKEN_IDS > 4, 0, TOKEN_IDS)] * steps)
    free = np.stack([TOKEN_IDS > 4] * steps)
    token_ids = np.where(free, generator.integers(5, 50, token_ids.shape), token_ids)
    segment_ids = np.stack([SEGMENT_IDS] * steps)
    rows = {"token_ids": token_ids, "segment_ids": segment_ids}
    found = bert4keras.run("train_losses", rows, learning_rate=learning_rate, **paths)
    model = build_transformer_model(
        **paths,
        application="unilm",
        with_mlm="linear",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model.compile(Adam(learning_rate, epsilon=1e-6), WholeLogitsLoss())
    values = [
        model.train_on_batch([ids, segments], np.stack([ids, segments], -1))
        for ids, segments in zip(token_ids, segment_ids, strict=True)
    ]
    np.testing.assert_allclose(values, found["losses"], rtol=0, atol=1e-4)
    logits = model.predict_on_batch([token_ids[0], segment_ids[0]])
    probabilities = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    np.testing.assert_allclose(probabilities, found["output_0"], atol=2e-3)
