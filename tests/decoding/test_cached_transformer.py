"""The cached transformer, step by step, against the plain model; and the models it refuses."""

import keras
import numpy as np
import pytest
from keras import ops

from kexue_keras import models
from kexue_keras.decoding.cached_transformer import CachedTransformer

STEPS = 4


def bert(application, seed=0, **config):
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "max_position": 20, "vocab_size": 9}
    model = models.Bert(application=application, with_mlm="linear", **{**sizes, **config})
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        center = 1.0 if "gamma" in variable.path else 0.0
        variable.assign(generator.normal(center, 0.4, variable.shape))
    return model


def plain_logits(model, prompts, segments, continuations):
    """Logits `(samples, STEPS + 1, vocabulary)` from the first generated token on, uncached."""
    rows = []
    for prompt, segment, ids in zip(prompts, segments, continuations, strict=True):
        target = 1 if model.application == "unilm" else segment[-1]
        token_ids = np.array([[*prompt, *ids]])
        segment_ids = np.array([[*segment, *[target] * len(ids)]])
        logits = ops.convert_to_numpy(model([token_ids, segment_ids]))
        rows.append(logits[0, len(prompt) - 1 :])
    return np.stack(rows)


def padded(rows):
    width = max(map(len, rows))
    return np.array([[*row, *[0] * (width - len(row))] for row in rows], "int32")


PROMPTS = [[2, 5, 0, 3], [2, 0, 0], [7, 8, 6, 5, 4, 1], [3]]
SEGMENTS = [[0, 0, 1, 1], [0, 0, 0], [1, 0, 0, 0, 1, 1], [0]]
CONTINUATIONS = [[4, 0, 7, 8], [0, 0, 5, 3], [1, 2, 3, 4], [8, 8, 0, 8]]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("application", "config"),
    [
        ("unilm", {}),
        ("lm", {}),
        ("lm", {"embedding_size": 6, "attention_head_size": 5}),
        ("unilm", {"attention_scale": "entropy_invariant", "train_length": 8}),
        ("lm", {"normalizer": "taylor_softmax"}),
    ],
)
def test_every_step_equals_the_plain_model(application, config, shared):
    model = bert(application, **config)
    cached = CachedTransformer(model)
    lengths = ops.convert_to_tensor(np.array([len(row) for row in PROMPTS], "int32"))
    logits, source = cached.prefill(
        ops.convert_to_tensor(padded(PROMPTS)), ops.convert_to_tensor(padded(SEGMENTS)), lengths
    )
    found = [logits[:, None]]
    slots = 2
    cache = cached.empty_cache(len(PROMPTS), slots, STEPS, shared)
    own = np.eye(slots, dtype=bool)[None, :, None] if shared else np.ones((1, 1, 1), bool)
    for index in range(STEPS):
        ids = np.array(CONTINUATIONS)
        written = (np.arange(STEPS) <= index) & (ids != 0)
        if shared:
            visible = (written[:, None, :, None] & own).reshape(len(ids), slots, -1)
        else:
            visible = written[:, None, :] & own
        newest = ops.convert_to_tensor(np.repeat(ids[:, index, None], slots, axis=1), "int32")
        logits, cache = cached.step(newest, index, source, cache, ops.convert_to_tensor(visible))
        np.testing.assert_allclose(logits[:, 0], logits[:, 1], atol=1e-5)
        found.append(logits[:, 1:])
    found = ops.convert_to_numpy(ops.concatenate(found, axis=1))
    expected = plain_logits(model, PROMPTS, SEGMENTS, CONTINUATIONS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected) > 2


def test_what_it_knows_of_the_model():
    cached = CachedTransformer(bert("unilm", vocab_size=30, keep_tokens=range(0, 30, 3)))
    assert (cached.depth, cached.vocab_size, cached.max_position) == (2, 10, 20)
    assert len(cached.variables) == 3 + 2 + 2 * 16 + 2 + 2 + 1


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
