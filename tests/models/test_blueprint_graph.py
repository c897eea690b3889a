"""Inputs of a transformer beside token ids, and what the graph makes of them."""

import keras
import numpy as np
import pytest
from cached_steps import assert_steps_equal_the_graph, randomize
from contract import to_numpy

from kexue_keras import decoding, models
from kexue_keras.models import build_transformer_model

SIZES = {
    "vocab_size": 9,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "hidden_act": "gelu",
    "max_position": 20,
}
IDS = np.array([[2, 7, 3, 5], [4, 1, 8, 0]])
SEGMENTS = np.array([[0, 0, 1, 1], [0, 0, 0, 0]])


def make(**options):
    return randomize(build_transformer_model(**{**SIZES, **options}))


def run(model, *inputs):
    return to_numpy(model.predict_on_batch(list(inputs)))


@pytest.mark.parametrize("position", ["learned", "rotary", "relative"])
def test_positions_of_one_s_own(position):
    """Those given are taken: the same order as without, moved, and exchanged."""
    model, plain = (make(position=position, custom_position_ids=x) for x in (True, False))
    plain.set_weights(model.get_weights())
    assert [x.name for x in model.inputs] == ["Input-Token", "Input-Segment", "Input-Position"]
    places = np.tile(np.arange(4), (2, 1))
    usual = run(model, IDS, SEGMENTS, places)
    np.testing.assert_allclose(usual, run(plain, IDS, SEGMENTS), atol=1e-5)
    moved = run(model, IDS, SEGMENTS, places + 3)
    assert (np.abs(moved - usual).max() < 1e-4) == (position != "learned")
    order = [1, 0, 2, 3]
    exchanged = run(model, IDS[:1, order], SEGMENTS[:1, order], places[:1, order])
    np.testing.assert_allclose(exchanged[:, order], usual[:1], atol=1e-5)


def labelled(tmp_path=None, **options):
    labels = keras.Input((1,), name="labels")
    condition = keras.layers.Embedding(4, 5, name="Label")(labels)
    condition = keras.layers.Reshape((5,), name="Flat")(condition)
    given = {"layer_norm_cond": condition, "additional_input_layers": labels}
    return make(application="lm", with_mlm="linear", **given, **options)


@pytest.mark.parametrize("hidden", [None, 7])
def test_a_condition_made_from_inputs(tmp_path, hidden):
    options = {"layer_norm_cond_hidden_size": hidden, "layer_norm_cond_hidden_act": "swish"}
    model = labelled(**options)
    labels = np.array([[1], [3]])
    expected = run(model, IDS, SEGMENTS, labels)
    assert np.abs(run(model, IDS, SEGMENTS, labels[::-1]) - expected).max() > 1e-2
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(run(again, IDS, SEGMENTS, labels), expected, atol=1e-6)
    built_on = keras.Model(again.inputs, keras.layers.Activation("linear")(again.output))
    for each in (model, again, built_on):
        generator = decoding.Generator(each, end_id=3, maxlen=3)
        ((ids, score),) = generator.beam_search([[2, 7]], condition=[[3]])[0]
        text = np.array([[2, 7, *ids]])
        logits = run(model, text, np.zeros_like(text), np.array([[3]]))[0].astype("float64")
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        np.testing.assert_allclose(score, log_p[np.arange(1, 1 + len(ids)), ids].sum(), atol=1e-4)


def test_names_begin_with_the_prefix(tmp_path):
    model = make(prefix="first-", application="lm", with_mlm="linear")
    assert all(layer.name.startswith("first-") for layer in model.layers)
    assert "Embedding-Token" in model.blueprint.layers
    assert_steps_equal_the_graph(model, shared=True)
    models.save_checkpoint(model, tmp_path / "model.ckpt")
    other = build_transformer_model(
        **SIZES, prefix="second-", with_mlm="linear", checkpoint_path=tmp_path / "model.ckpt"
    )
    assert_equal(other.get_weights(), model.get_weights())
    # two in one model, without equal names
    both = keras.Model(model.inputs, [model.output, other(model.inputs)])
    assert len(both.weights) == 2 * len(model.weights)


def assert_equal(found, expected):
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, y)


def test_layers_of_another_model_are_shared():
    encoder = make(with_mlm="linear")
    shared = encoder.blueprint.layers
    writer = build_transformer_model(**SIZES, application="lm", layers=shared)
    assert [id(w) for w in writer.weights] == [id(w) for w in encoder.weights]
    # the mask is each one's own
    assert np.abs(run(writer, IDS, SEGMENTS) - run(encoder, IDS, SEGMENTS)).max() > 1e-3
    assert "layers" not in writer.get_config()


def test_the_table_of_tokens_may_embed_segments():
    model = make(shared_segment_embeddings=True)
    assert not any(layer.name == "Embedding-Segment" for layer in model.layers)
    plain = make()
    table = to_numpy(model.get_layer("Embedding-Token").embeddings.value)
    weights = {w.path: w for w in model.weights}
    for w in plain.weights:
        w.assign(to_numpy(weights[w.path].value) if w.path in weights else table[:2])
    np.testing.assert_allclose(run(model, IDS, SEGMENTS), run(plain, IDS, SEGMENTS), atol=1e-5)


def test_scores_of_the_block_before_are_added():
    """Of equal keys the softmax does not change; so a block without own scores has the last's."""
    model, plain = make(residual_attention_scores=True), make()
    plain.set_weights(model.get_weights())
    first = "Transformer-0-MultiHeadSelfAttention"
    name = "Transformer-1-MultiHeadSelfAttention"
    for each in (model, plain):
        each.get_layer(name).query_dense.kernel.assign(np.zeros((16, 16)))
        each.get_layer(name).query_dense.bias.assign(np.zeros(16))

    def weights_of_block(each):
        states = keras.Model(each.inputs, each.get_layer("Embedding-Norm").output)
        states = to_numpy(states.predict_on_batch([IDS[:1], SEGMENTS[:1]]))
        return each.get_layer(first), states

    layer, states = weights_of_block(model)
    query, key = (to_numpy(f(states)) for f in (layer.project_query, layer.project_key))
    scores = np.einsum("bqhd,bkhd->bhqk", query, key)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    before = keras.Model(model.inputs, model.get_layer("Transformer-0-FeedForward-Norm").output)
    x = to_numpy(before.predict_on_batch([IDS[:1], SEGMENTS[:1]]))
    second = model.get_layer(name)
    value = to_numpy(second.project_value(x))
    merged = to_numpy(second.merge_heads(np.einsum("bhqk,bkhd->bqhd", weights, value)))
    output = keras.Model(model.inputs, second.output[0])
    found = to_numpy(output.predict_on_batch([IDS[:1], SEGMENTS[:1]]))
    np.testing.assert_allclose(found, merged, atol=1e-5)
    assert np.abs(run(model, IDS, SEGMENTS) - run(plain, IDS, SEGMENTS)).max() > 1e-3


def test_texts_longer_than_the_trained_positions():
    model = make(hierarchical_position=True, max_position=4, application="lm", with_mlm="linear")
    assert model.max_position == 16
    assert_steps_equal_the_graph(model, shared=True)
    with pytest.raises(ValueError, match="16 positions"):
        decoding.Generator(model, end_id=3, maxlen=8).beam_search([[2] * 10])


@pytest.mark.parametrize("shared", [True, False])
def test_sizes_of_keys_and_values(shared):
    model = make(
        attention_key_size=6, attention_head_size=10, application="unilm", with_mlm="linear"
    )
    assert_steps_equal_the_graph(model, shared)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(dtype):
    model = make(residual_attention_scores=True, hierarchical_position=True, dtype=dtype)
    exact = make(residual_attention_scores=True, hierarchical_position=True)
    exact.set_weights(model.get_weights())
    found = run(model, IDS, SEGMENTS).astype("float32")
    np.testing.assert_allclose(found, run(exact, IDS, SEGMENTS), atol=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_norm_cond": 3}, "`layer_norm_cond` must be a Keras tensor .*Received: 3"),
        ({"additional_input_layers": keras.Input((1,))}, "`layer_norm_cond` must .*None"),
        ({"residual_attention_scores": True, "application": "lm"}, "False but for an encoder"),
        ({"compound_tokens": [[9]]}, r"`compound_tokens` must be of ids below 9.*\[9\]"),
        ({"compound_tokens": [([1, 2], [1.0])]}, "as many weights"),
        ({"hierarchical_position": 0.5}, "not 0.5"),
        ({"num_features": 4, "residual_attention_scores": True}, "computes no scores"),
        ({"position": "relative", "attention_key_size": 4}, "`key_size` must be `head_size`"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build_transformer_model(**{**SIZES, **options})
