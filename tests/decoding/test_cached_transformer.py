"""The cached transformer, step by step, against the plain model; and the models it refuses."""

import keras
import pytest
from cached_steps import assert_steps_equal_the_graph, randomize

from kexue_keras import models, training
from kexue_keras.decoding.cached_transformer import CachedTransformer


def bert(application, seed=0, **config):
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "max_position": 20, "vocab_size": 9}
    model = models.Bert(application=application, with_mlm="linear", **{**sizes, **config})
    return randomize(model, seed)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("application", "config"),
    [
        ("unilm", {}),
        ("lm", {}),
        ("lm", {"embedding_size": 6, "attention_head_size": 5}),
        ("unilm", {"attention_scale": "entropy_invariant", "train_length": 8}),
        ("lm", {"normalizer": "taylor_softmax"}),
        ("unilm", {"position": "rotary"}),
        ("lm", {"position": "relative", "segment_vocab_size": 0}),
        ("unilm", {"position": "relative", "dropout_rate": 0.1, "attention_dropout_rate": 0.1}),
    ],
)
def test_every_step_equals_the_plain_model(application, config, shared):
    assert_steps_equal_the_graph(bert(application, **config), shared)


@pytest.mark.parametrize("shared", [True, False])
def test_half_precision(shared):
    model = bert("unilm", position="relative", dtype="mixed_float16")
    assert_steps_equal_the_graph(model, shared, tolerance=3e-2)


@pytest.mark.parametrize("shared", [True, False])
def test_conditions_reach_every_step(shared):
    model = bert("unilm", condition_size=3)
    assert_steps_equal_the_graph(model, shared, conditioned=True)


def test_what_it_knows_of_the_model():
    cached = CachedTransformer(bert("unilm", vocab_size=30, keep_tokens=range(0, 30, 3)))
    assert (cached.depth, cached.vocab_size, cached.max_position) == (2, 10, 20)
    assert len(cached.variables) == 3 + 2 + 2 * 16 + 2 + 2 + 1
    assert CachedTransformer(bert("lm", position="rotary")).max_position is None


def test_models_that_cannot_generate_are_refused():
    inputs = keras.Input((4,))
    other = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="classifier")
    message = "(?s)`model` must be a language model.*Received: 'classifier', without .*Token"
    with pytest.raises(ValueError, match=message):
        CachedTransformer(other)
    with pytest.raises(ValueError, match="`model` .*application .*Received: an encoder"):
        CachedTransformer(bert("encoder"))
    with pytest.raises(ValueError, match="without the layer 'MLM-Bias'"):
        config = bert("encoder").get_config()
        CachedTransformer(models.Bert.from_config({**config, "with_mlm": False}))
    with pytest.raises(ValueError, match="over single keys.* Received: PerformerAttention"):
        CachedTransformer(bert("lm", num_features=4))


def test_two_transformers_in_one_model_are_refused_by_name():
    towers = [bert("lm", name=name) for name in ("left", "right")]
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    both = keras.Model(inputs, [tower(inputs) for tower in towers], name="both")
    message = "exactly one transformer. Received: 'both', which holds left, right"
    with pytest.raises(ValueError, match=message):
        CachedTransformer(both)
    once = keras.Model(inputs, [towers[0](inputs), towers[0](inputs[::-1])])
    assert CachedTransformer(once).blueprint is towers[0].blueprint


def test_a_transformer_inside_a_strategy_is_found():
    model = bert("lm", num_hidden_layers=1)
    penalty = training.GradientPenalty(model, "Embedding-Token")
    strategy = training.AdversarialTraining(penalty, "Embedding-Token")
    assert CachedTransformer(strategy).blueprint is model.blueprint


@pytest.mark.parametrize("nested", [False, True])
def test_a_transformer_inside_a_model_is_found(tmp_path, nested):
    model = bert("lm", num_hidden_layers=1)
    output = model(model.inputs) if nested else model.output
    whole = keras.Model(model.inputs, keras.layers.Dense(2, name="extra")(output))
    whole.save(tmp_path / "whole.keras")
    again = keras.saving.load_model(tmp_path / "whole.keras")
    for outer in (whole, again):
        cached = CachedTransformer(outer)
        assert (cached.application, cached.depth, cached.vocab_size) == ("lm", 1, 9)
        assert {v.path for v in model.variables} <= {v.path for v in cached.variables}
