import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from contract import check_config, check_padding, compile, perturb, to_numpy

from kexue_keras import backend, layers, losses
from kexue_keras.models import Bert, build_transformer_model

PROJECT = Path(__file__).parents[2]
APPLICATIONS = ["encoder", "lm", "unilm"]
TOKEN_IDS = np.array([[2, 7, 9, 3, 11, 12, 3], [2, 8, 3, 10, 13, 14, 3]], "int32")
SEGMENT_IDS = np.array([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1]], "int32")

RELOAD = """
import sys
import keras, numpy as np
import kexue_keras.models
model = keras.saving.load_model(sys.argv[1])
with np.load(sys.argv[2]) as arrays:
    output = model.predict_on_batch([arrays["token_ids"], arrays["segment_ids"]])
    np.testing.assert_allclose(output, arrays["output"], rtol=1e-4, atol=1e-6)
assert int(model.optimizer.iterations) == 1
"""


def bert(seed=0, **options):
    """A small model with random weights everywhere."""
    small = dict(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2)
    model = Bert(**(small | dict(intermediate_size=12, max_position=16) | options))
    perturb(model, seed)
    return model


def run(model, *inputs):
    return model.predict_on_batch(list(inputs))


@pytest.fixture(scope="module")
def language_models():
    return {name: bert(application=name, with_mlm="linear") for name in APPLICATIONS}


def test_outputs_equal_those_of_another_implementation(shared):
    folder = shared / "checkpoints" / "tiny_zh"
    model = build_transformer_model(
        folder / "bert_config.json", folder / "bert_model.ckpt", with_pool=True, with_mlm="linear"
    )
    hidden = model.get_layer("Transformer-3-FeedForward-Norm").output
    model = keras.Model(model.inputs, [hidden, *model.outputs])
    with np.load(folder / "reference.npz") as reference:
        visible = reference["attention_mask"] == 1
        token_ids = np.where(visible, reference["ids"], 0)
        hidden, pooled, logits = run(model, token_ids, np.zeros_like(token_ids))
        np.testing.assert_allclose(hidden[visible], reference["hidden"][visible], atol=1e-4)
        np.testing.assert_allclose(pooled, reference["pooled"], atol=1e-4)
        found = logits[..., ::16][visible]
        np.testing.assert_allclose(found, reference["mlm"][visible], atol=1e-3, rtol=0)


@pytest.mark.parametrize("application", ["lm", "unilm"])
def test_a_later_target_token_changes_no_earlier_logit(language_models, application):
    model = language_models[application]
    before = run(model, TOKEN_IDS, SEGMENT_IDS)
    for place in range(4, 7):
        changed = TOKEN_IDS.copy()
        changed[:, place] = 17
        after = run(model, changed, SEGMENT_IDS)
        np.testing.assert_array_equal(after[:, :place], before[:, :place])
        assert (np.abs(after[:, place:] - before[:, place:]).max(-1) > 1e-4).all()


def test_in_a_unilm_the_source_sees_itself_both_ways_and_never_the_target(language_models):
    model = language_models["unilm"]
    before = run(model, TOKEN_IDS, SEGMENT_IDS)
    shorter = run(model, TOKEN_IDS[:, :3], SEGMENT_IDS[:, :3])
    np.testing.assert_allclose(shorter[1], before[1, :3], atol=1e-5)
    changed = TOKEN_IDS.copy()
    changed[:, 2] = 17
    difference = np.abs(run(model, changed, SEGMENT_IDS) - before).max(-1)
    assert (difference > 1e-4).all()


def test_an_encoder_sees_everything_and_an_lm_only_what_was(language_models):
    changed = TOKEN_IDS.copy()
    changed[:, 4] = 17
    difference = {
        name: np.abs(run(model, changed, SEGMENT_IDS) - run(model, TOKEN_IDS, SEGMENT_IDS)).max(-1)
        for name, model in language_models.items()
    }
    assert (difference["encoder"] > 1e-4).all()
    assert (difference["lm"][:, :4] == 0).all() and (difference["lm"][:, 4:] > 1e-4).all()


@pytest.mark.parametrize("application", APPLICATIONS)
def test_padding_on_the_right_changes_nothing(language_models, application):
    model = language_models[application]

    def pad(inputs, amount, fill):
        token_ids, segment_ids = inputs
        more = ((0, 0), (0, amount))
        return np.pad(token_ids, more), np.pad(segment_ids, more, constant_values=min(fill, 1))

    check_padding(lambda *inputs: run(model, *inputs), (TOKEN_IDS, SEGMENT_IDS), pad, 7, 1e-5)


@pytest.mark.parametrize("application", APPLICATIONS)
def test_a_short_row_in_a_batch_with_a_longer_one(language_models, application):
    model = language_models[application]
    alone = run(model, TOKEN_IDS[:1, :5], SEGMENT_IDS[:1, :5])
    token_ids, segment_ids = TOKEN_IDS.copy(), SEGMENT_IDS.copy()
    token_ids[0, 5:] = segment_ids[0, 5:] = 0
    together = run(model, token_ids, segment_ids)
    np.testing.assert_allclose(together[:1, :5], alone, atol=1e-5)


@pytest.mark.parametrize("application", APPLICATIONS)
def test_padding_inside_a_row_is_seen_by_nobody(language_models, application):
    model = language_models[application]
    token_ids = TOKEN_IDS.copy()
    token_ids[:, 2] = 0
    others = np.arange(7) != 2
    before = run(model, token_ids, SEGMENT_IDS)[:, others]
    table = model.get_layer("Embedding-Token").embeddings
    value = to_numpy(table.value)
    changed = value.copy()
    changed[0] += 3.0
    table.assign(changed)
    bias = changed[0] - value[0]
    after = run(model, token_ids, SEGMENT_IDS)[:, others]
    table.assign(value)
    assert np.abs(bias).min() > 0
    # the logit of the padding token itself is made from its vector
    np.testing.assert_allclose(after[..., 1:], before[..., 1:], atol=1e-5)


def test_the_first_token_is_never_padding(language_models):
    token_ids = np.array([[0, 0, 0]])
    for model in language_models.values():
        alone = run(model, token_ids[:, :1], token_ids[:, :1])
        output = run(model, token_ids, 0 * token_ids)
        assert np.isfinite(output).all()
        np.testing.assert_allclose(output[:, :1], alone, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"segment_vocab_size": 0},
        {"embedding_size": 6},
        {"num_features": 4},
        {"dropout_rate": 0.1},
    ],
)
def test_what_is_built_on_top_sees_no_padding(options):
    """The mask of the tokens is that of the output, as in bert4keras."""
    model = bert(**options)
    crf = layers.ConditionalRandomField()
    hidden = model.output
    mean = keras.layers.GlobalAveragePooling1D()(hidden)
    whole = keras.Model(model.inputs, [crf(keras.layers.Dense(3)(hidden)), mean])
    perturb(whole, 1)
    lengths, labels = np.array([7, 4]), np.array([[0, 1, 2, 0, 1, 2, 0], [2, 1, 0, 2, 0, 0, 0]])
    found = []
    for padding in (0, 5):
        rows = [TOKEN_IDS[:, :7] * (np.arange(7) < lengths[:, None]), SEGMENT_IDS]
        rows = [np.pad(x, ((0, 0), (0, padding))) for x in rows]
        scores, means = whole(rows[: len(whole.inputs)])
        y = np.pad(labels, ((0, 0), (0, padding)), constant_values=1)
        path = crf.decode(scores)
        assert not path[1, 4:].any()
        found.append([to_numpy(means), to_numpy(crf.sparse_loss(y, scores)), path[:, :7]])
        short = whole([x[1:, :4] for x in rows[: len(whole.inputs)]])[0]
        np.testing.assert_array_equal(crf.decode(short)[0], path[1, :4])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_keras_s_losses_leave_padding_out():
    model = bert(with_mlm="linear")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    token_ids = TOKEN_IDS * (np.arange(7) < 4)
    values = [
        model.test_on_batch([x[:, :n] for x in (token_ids, SEGMENT_IDS)], TOKEN_IDS[:, :n])
        for n in (4, 7)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_target_positions_equal_the_gathered_logits(language_models):
    for application in APPLICATIONS:
        full = language_models[application]
        model = bert(application=application, with_mlm="linear", target_positions=True)
        model.set_weights(full.get_weights())
        positions = np.array([[3, 4, 5, 0], [6, 2, 0, 0]])
        found = run(model, TOKEN_IDS, SEGMENT_IDS, positions)
        expected = np.take_along_axis(run(full, TOKEN_IDS, SEGMENT_IDS), positions[..., None], 1)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_outputs_and_their_order():
    token_ids, segment_ids = TOKEN_IDS, SEGMENT_IDS
    pooled, probabilities = run(bert(with_pool=True, with_mlm=True), token_ids, segment_ids)
    assert pooled.shape == (2, 8) and np.abs(pooled).max() < 1
    np.testing.assert_allclose(probabilities.sum(-1), np.ones((2, 7)), rtol=1e-5)
    next_sentence = run(bert(with_nsp=True), token_ids, segment_ids)
    np.testing.assert_allclose(next_sentence.sum(-1), [1, 1], rtol=1e-5)
    assert bert(with_pool="linear").output.shape == (None, 8)
    assert bert().output.shape == (None, None, 8)
    assert bert(application="lm").get_config()["with_mlm"] is True


def test_other_sizes(tmp_path):
    options = dict(embedding_size=6, attention_head_size=5, segment_vocab_size=0, hidden_act="relu")
    model = bert(**options, with_mlm="linear", keep_tokens=[0, 3, 5, 7, 9])
    assert len(model.inputs) == 1 and model.keep_tokens == [0, 3, 5, 7, 9]
    output = model.predict_on_batch(TOKEN_IDS[:, :3] % 5)
    assert output.shape == (2, 3, 5)
    check_config(model)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(reloaded.predict_on_batch(TOKEN_IDS[:, :3] % 5), output, rtol=1e-5)
    assert reloaded.keep_tokens == model.keep_tokens


def training_model(**options):
    model = bert(
        application="unilm", with_mlm="linear", dropout_rate=0.1, num_hidden_layers=1, **options
    )
    model.compile("adam", losses.SequenceCrossentropy())
    return model


@pytest.mark.once
def test_reloads_after_training_here_and_in_another_process(tmp_path):
    model = training_model(attention_dropout_rate=0.1)
    before = run(model, TOKEN_IDS, SEGMENT_IDS)
    model.train_on_batch([TOKEN_IDS, SEGMENT_IDS], TOKEN_IDS)
    output = run(model, TOKEN_IDS, SEGMENT_IDS)
    assert np.abs(output - before).max() > 1e-4
    path, arrays = tmp_path / "model.keras", tmp_path / "arrays.npz"
    model.save(path)
    reloaded = keras.saving.load_model(path)
    assert type(reloaded) is Bert and reloaded.get_config() == model.get_config()
    np.testing.assert_allclose(run(reloaded, TOKEN_IDS, SEGMENT_IDS), output, rtol=1e-5, atol=1e-6)
    np.savez(arrays, output=output, token_ids=TOKEN_IDS, segment_ids=SEGMENT_IDS)
    command = [sys.executable, "-W", "ignore", "-c", RELOAD, str(path), str(arrays)]
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "PYTHONPATH": str(PROJECT),
    }
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_is_frozen_stays_frozen(tmp_path):
    model = bert(application="encoder", num_hidden_layers=1)
    model.get_layer("Embedding-Token").trainable = False
    again = Bert.from_config(model.get_config())
    assert not again.get_layer("Embedding-Token").trainable
    assert again.get_layer("Transformer-0-FeedForward").trainable
    assert len(again.trainable_variables) == len(model.trainable_variables)
    model.trainable = False
    classifier = keras.Model(model.inputs, keras.layers.Dense(2)(model(model.inputs)))
    classifier.compile("adam", "mse")
    classifier.fit([TOKEN_IDS, SEGMENT_IDS], np.zeros((2, 7, 2)), verbose=0)
    classifier.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(reloaded.trainable_variables) == 2
    assert len(reloaded.optimizer.variables) == len(classifier.optimizer.variables)
    assert int(reloaded.optimizer.iterations) == 1


def test_dropout_is_active_in_training_only():
    inputs = [TOKEN_IDS, SEGMENT_IDS]
    for options in ({"dropout_rate": 0.5}, {"attention_dropout_rate": 0.5}):
        model = bert(**options, num_hidden_layers=1)
        first, second = (to_numpy(model(inputs, training=True)) for _ in range(2))
        assert np.abs(first - second).max() > 1e-3
        quiet = bert(num_hidden_layers=1)
        quiet.set_weights(model.get_weights()[: len(quiet.weights)])
        expected = to_numpy(quiet(inputs, training=True))
        np.testing.assert_allclose(to_numpy(model(inputs)), expected, atol=1e-5)


def test_a_step_is_compiled_once_for_every_length():
    traces = []

    def counting(x):
        traces.append(x.shape)
        return keras.ops.tanh(x)

    model = bert(hidden_act=counting, num_hidden_layers=1)
    model.compile("sgd", "mse")
    counts = []
    for length in (5, 7, 5, 7, 5):
        ids = TOKEN_IDS[:, :length]
        model.fit([ids, 0 * ids], np.zeros((2, length, 8)), batch_size=2, epochs=2, verbose=0)
        counts.append(len(traces))
    assert counts[0] < counts[1]
    assert counts[1:] == counts[1:2] * 4


@pytest.mark.once
def test_compiling_with_xla_changes_no_loss():
    found = {}
    for jit_compile in (False, True):
        model = bert(application="unilm", with_mlm="linear", num_hidden_layers=1)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, jit_compile=jit_compile)
        inputs = [TOKEN_IDS, SEGMENT_IDS]
        found[jit_compile] = [float(model.train_on_batch(inputs, TOKEN_IDS)) for _ in range(2)]
    np.testing.assert_allclose(found[True], found[False], rtol=1e-5)
    assert found[True][1] < found[True][0]


@pytest.mark.parametrize("policy,atol", [("mixed_float16", 0.05), ("mixed_bfloat16", 0.3)])
def test_mixed_precision(policy, atol):
    options = dict(application="unilm", with_mlm="linear", num_hidden_layers=1)
    exact, model = bert(**options), bert(**options, dtype=policy)
    assert {str(w.dtype) for w in model.weights} == {"float32"}
    assert model.get_layer("Transformer-0-FeedForward").compute_dtype == policy[6:]
    assert model.output.dtype == "float32"
    model.set_weights(exact.get_weights())
    found = run(model, TOKEN_IDS, SEGMENT_IDS)
    expected = run(exact, TOKEN_IDS, SEGMENT_IDS)
    np.testing.assert_allclose(found, expected, atol=atol * np.abs(expected).max())
    assert json.loads(json.dumps(model.get_config()))["dtype"]["config"]["name"] == policy
    model.compile("adam", losses.SequenceCrossentropy())
    values = [model.train_on_batch([TOKEN_IDS, SEGMENT_IDS], TOKEN_IDS) for _ in range(3)]
    assert np.isfinite(values).all() and values[2] < values[0]


def test_the_output_matrix_is_the_embedding():
    model = bert(with_mlm="linear", num_hidden_layers=1)
    assert sum(20 in w.shape for w in model.weights if len(w.shape) == 2) == 1
    table = model.get_layer("Embedding-Token").embeddings

    def logit():
        return keras.ops.sum(model([TOKEN_IDS[:1], SEGMENT_IDS[:1]])[:, 2, 18])

    _, (gradient,) = compile(backend.value_and_grad(logit, [table]), model.variables)()
    rows = np.flatnonzero(np.abs(to_numpy(gradient)).max(-1) > 0)
    assert 18 not in TOKEN_IDS[0]
    assert set(rows) == set(TOKEN_IDS[0]) | {18}


@pytest.mark.parametrize(
    "options,message",
    [
        ({"application": "seq2seq"}, "`application` must be one of .*Received: 'seq2seq'"),
        ({"num_attention_heads": 3}, "`num_attention_heads` must divide `hidden_size` 8.*: 3"),
        ({"keep_tokens": [0, 20]}, "`keep_tokens` must be ids below `vocab_size` 20. Received: 20"),
        ({"keep_tokens": [-1]}, "`keep_tokens`.*Received: -1"),
        ({"keep_tokens": []}, "`keep_tokens` must not be empty"),
        ({"target_positions": True}, "`target_positions` needs `with_mlm`"),
        ({"application": "unilm", "segment_vocab_size": 0}, "`segment_vocab_size`.*Received: 0"),
        ({"hidden_act": "nonsense"}, "nonsense"),
        ({"num_attention_heads": 0}, "`num_attention_heads` must be at least 1. Received: 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        bert(**options)
