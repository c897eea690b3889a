"""T5: against NumPy, files, cached decoding with an encoder, what is refused."""

import numpy as np
import pytest
from cached_steps import CONDITIONS, CONTINUATIONS, PROMPTS, cached_logits, padded
from contract import compile
from generative_checks import (
    FIRST,
    SIZES,
    assert_logits_equal,
    check_files,
    check_mixed_precision,
    check_reload,
    make,
    run,
)
from keras import ops
from numpy_decoder import NumpyDecoder, gelu, gelu_tanh, relu

from kexue_keras import decoding, models
from kexue_keras.decoding.cached_transformer import CachedTransformer

LINEAR = {"with_lm": "linear", "attention_head_size": 6}
STARTED = np.concatenate([np.zeros((2, 1), "int32"), FIRST[:, 1:6]], axis=1)
PLAIN = {"version": "t5.1.0"}
ACROSS = {"version": "mt5.1.1", "cross_position_bias": True}


def reference(model, act):
    return NumpyDecoder(model, epsilon=1e-6, act=act)


@pytest.mark.parametrize(
    ("name", "options", "act", "arguments"),
    [
        ("t5", {}, relu, {}),
        ("t5.1.1", {"num_decoder_layers": 3}, gelu_tanh, {"scaled": False}),
        ("mt5.1.1", {"cross_position_bias": True}, gelu_tanh, {"across": True}),
        (
            "mt5.1.1",
            {"hidden_act": ["gelu_erf", "linear"], "scale_output": True},
            gelu,
            {"scaled": True},
        ),
    ],
)
def test_equals_the_formula(name, options, act, arguments):
    model = make(name, **LINEAR, **options)
    logits = reference(model, act).t5
    expected = (logits(*pair, **arguments) for pair in zip(FIRST, STARTED, strict=True))
    assert_logits_equal(run(model, FIRST, STARTED), expected)
    assert model.application == "lm" and len(model.weights) == len(set(map(id, model.weights)))


def graph_logits(model, start=0, *condition):
    """Logits `(samples, STEPS + 1, vocabulary)` of the continuations, uncached."""
    targets = np.array([[start, *ids] for ids in CONTINUATIONS], "int32")
    return run(model, padded(PROMPTS), targets, *condition)


@pytest.mark.parametrize(
    ("options", "shared"),
    [(PLAIN, True), (PLAIN | {"num_decoder_layers": 1}, False), (ACROSS, True), (ACROSS, False)],
)
def test_cached_steps_equal_the_graph(options, shared):
    model = make(models.T5Blueprint, dropout_rate=0.1, **LINEAR, **options)
    expected = graph_logits(model)
    np.testing.assert_allclose(cached_logits(model, shared), expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected) > 1


def test_conditions_reach_the_cached_encoder_and_decoder():
    model = make("t5.1.1", condition_size=3, **LINEAR)
    expected = graph_logits(model, 0, CONDITIONS)
    found = cached_logits(model, shared=True, conditioned=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    other = graph_logits(model, 0, -CONDITIONS)
    assert np.abs(other - expected).max() > 0.1


def test_the_encoder_s_keys_are_computed_once():
    cached = CachedTransformer(make("t5", num_decoder_layers=3, **LINEAR))
    ids = padded(PROMPTS)
    prefill = compile(cached.prefill, cached.variables)
    _, source = prefill(ids, np.zeros_like(ids), np.ones((4,), "int32"))
    assert [tuple(key.shape) for key, _ in source["memories"]] == [(4, 2, 6, 6)] * 3
    assert [tuple(key.shape) for key, _ in source["caches"]] == [(4, 2, 1, 6)] * 3
    # the encoder's hidden states are not there to be projected again
    kept = [tuple(value.shape) for value in source.values() if not isinstance(value, list)]
    assert kept and (4, 6, 16) not in kept


class Rules:
    def next_tokens(self, prefix):
        return {(): [4, 7], (4,): [5], (4, 5): [3], (7,): [3]}.get(tuple(prefix), [])


def test_beam_search_sampling_and_constraints():
    options = {"cross_position_bias": True, "num_hidden_layers": 1}
    model = make("mt5.1.1", **LINEAR, **options)
    generator = decoding.Generator(model, end_id=3, maxlen=3, start_id=7)
    prompts = [[2, 5, 7, 0], [2, 8, 1, 4]]
    results = generator.beam_search(prompts, topk=2)
    targets = [[7, *ids[:-1]] + [0] * (3 - len(ids)) for found in results for ids, _ in found]
    logits = run(model, np.repeat(prompts, 2, axis=0), np.array(targets)).astype("float64")
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    for row, (ids, score) in zip(logits, sum(results, []), strict=True):
        assert score == pytest.approx(row[np.arange(len(ids)), ids].sum(), abs=1e-4)
    samples = generator.random_sample(prompts, n=300, seed=0)
    share = np.mean([ids[0] == 4 for ids in samples[1]])
    assert share == pytest.approx(np.exp(logits[2, 0, 4]), abs=0.1)
    for rules in (decoding.PrefixTree([[4, 5, 3], [7, 3]]), Rules()):
        found = generator.beam_search(prompts, topk=2, constraint=rules)
        assert [sorted(ids for ids, _ in one) for one in found] == [[[4, 5, 3], [7, 3]]] * 2


def test_the_start_of_the_decoder():
    model = make("t5", **LINEAR)
    cached = CachedTransformer(model, start_id=5)
    assert decoding.Generator(cached, end_id=3).model.start_id == 5
    assert decoding.Generator(model, end_id=3).model.start_id == 0
    with pytest.raises(ValueError, match="`start_id` must be that of `model`, 5. Received: 2"):
        decoding.Generator(cached, end_id=3, start_id=2)
    with pytest.raises(ValueError, match="`start_id` must be an id below 9. Received: 9"):
        decoding.Generator(model, end_id=3, start_id=9)


@pytest.mark.parametrize("name", ["t5.1.0", "mt5.1.1"])
def test_files(name, tmp_path):
    check_files(name, tmp_path, **LINEAR)


def test_either_name_of_the_norms_is_read(tmp_path):
    model, again = make("t5.1.1", **LINEAR), make("mt5.1.1", 1, **LINEAR)
    for name, other in ((model, again), (again, model)):
        models.save_checkpoint(name, tmp_path / "model.npz")
        models.load_checkpoint(other, tmp_path / "model.npz")
        np.testing.assert_array_equal(run(name), run(other))
    with np.load(tmp_path / "model.npz") as file:
        assert "encoder/rms_norm/scale" in file and "decoder/final_layer_norm/scale" not in file


def test_tied_weights_of_a_gated_model(tmp_path):
    """Hugging Face's files of one leave the output matrix out."""
    from safetensors.numpy import load_file, save_file

    model = make("t5.1.1", **LINEAR)
    (tmp_path / "folder").mkdir()
    models.save_checkpoint(model, tmp_path / "folder")
    path = tmp_path / "folder" / "model.safetensors"
    tensors = load_file(path)
    tensors.pop("lm_head.weight")
    save_file(tensors, path)
    models.load_checkpoint(model, tmp_path / "folder")
    kernel, table = (model.blueprint.layers[n] for n in ("Decoder-Output-LM", "Embedding-Token"))
    np.testing.assert_array_equal(kernel.get_weights()[0], table.get_weights()[0].T)


def test_reload_and_mixed_precision(tmp_path):
    check_reload(make("mt5.1.1", cross_position_bias=True, num_decoder_layers=1), tmp_path)
    half = make("t5", 1, dtype="mixed_float16", dropout_rate=0.1, **LINEAR)
    check_mixed_precision(make("t5", dropout_rate=0.1, **LINEAR), half)


def test_parts_as_models_of_their_own():
    model = make("t5", dropout_rate=0.1, **LINEAR)
    encoder, decoder = model.blueprint.encoder, model.blueprint.decoder
    assert type(encoder.blueprint) is models.T5EncoderBlueprint
    found = decoder([encoder([FIRST]), ops.convert_to_tensor(STARTED)])
    np.testing.assert_allclose(ops.convert_to_numpy(found), run(model, FIRST, STARTED), atol=1e-5)
    ours = {id(v) for v in model.variables}
    assert {id(v) for part in (encoder, decoder) for v in part.trainable_variables} <= ours


def test_outputs_of_targets_and_hidden_states():
    model = make("t5.1.1", target_positions=True, **LINEAR)
    whole = make("t5.1.1", **LINEAR)
    whole.set_weights(model.get_weights())
    places = np.array([[0, 2], [1, 5]])
    found = run(model, FIRST, STARTED, places)
    expected = np.take_along_axis(run(whole, FIRST, STARTED), places[..., None], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    hidden = make("t5", with_lm=False)
    assert hidden.output.shape == (None, None, 16)
    assert np.allclose(run(make("t5"), FIRST, STARTED).sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"application": "lm"}, "`application` must be left out for T5.*Received: 'lm'"),
        ({"with_mlm": "linear"}, "`with_mlm` must be left out for T5, which has `with_lm`"),
        ({"version": "t5.2"}, "`version` must be one of .*Received: 't5.2'"),
        ({"position": "rotary"}, "`position` must be left out for T5.*Received: 'rotary'"),
        ({"embedding_size": 8}, "`embedding_size` must be `hidden_size` 16 for T5. Received: 8"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build_transformer_model(model="t5", **SIZES, **options)
