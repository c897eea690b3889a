"""Cached decoding of a transformer, step by step, against its graph."""

import numpy as np
from contract import compile
from keras import ops

from kexue_keras.decoding.cached_transformer import CachedTransformer

STEPS = 4
PROMPTS = [[2, 5, 0, 3], [2, 0, 0], [7, 8, 6, 5, 4, 1], [3]]
SEGMENTS = [[0, 0, 1, 1], [0, 0, 0], [1, 0, 0, 0, 1, 1], [0]]
CONTINUATIONS = [[4, 0, 7, 8], [0, 0, 5, 3], [1, 2, 3, 4], [8, 8, 0, 8]]
CONDITIONS = np.random.default_rng(3).normal(size=(4, 3)).astype("float32")


def randomize(model, seed=0):
    """Random weights everywhere, gains around 1."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        center = 1.0 if "gamma" in variable.name and "kernel" not in variable.name else 0.0
        variable.assign(generator.normal(center, 0.4, variable.shape))
    return model


def padded(rows):
    width = max(map(len, rows))
    return np.array([[*row, *[0] * (width - len(row))] for row in rows], "int32")


def plain_logits(model, conditioned=False):
    """Logits `(samples, STEPS + 1, vocabulary)` from the first generated token on, uncached."""
    rows, graph = [], compile(lambda *inputs: model(list(inputs)), model.variables)
    for i, (prompt, segment, ids) in enumerate(zip(PROMPTS, SEGMENTS, CONTINUATIONS, strict=True)):
        target = 1 if model.application == "unilm" else segment[-1]
        inputs = [[*prompt, *ids], [*segment, *[target] * len(ids)]][: 1 + _has_segments(model)]
        # of one length, so that there is one program
        inputs = [np.array([row + [0] * (12 - len(row))], "int32") for row in inputs]
        if conditioned:
            inputs.append(CONDITIONS[i : i + 1])
        rows.append(ops.convert_to_numpy(graph(*inputs))[0, len(prompt) - 1 :][: STEPS + 1])
    return np.stack(rows)


def _has_segments(model):
    return bool(model.blueprint.config["segment_vocab_size"])


def cached_logits(model, shared, conditioned=False, slots=2, tolerance=1e-4):
    """The same by `CachedTransformer`; both slots of a sample read the same."""
    cached = CachedTransformer(model)
    lengths = ops.convert_to_tensor(np.array([len(row) for row in PROMPTS], "int32"))
    prompts = [ops.convert_to_tensor(padded(rows)) for rows in (PROMPTS, SEGMENTS)]
    condition = (ops.convert_to_tensor(CONDITIONS),) if conditioned else ()
    prefill, step = (compile(f, cached.variables) for f in (cached.prefill, cached.step))
    logits, source = prefill(*prompts, lengths, *condition)
    found = [logits[:, None]]
    cache = cached.empty_cache(len(PROMPTS), slots, STEPS, shared)
    own = np.eye(slots, dtype=bool)[None, :, None] if shared else np.ones((1, 1, 1), bool)
    for index in range(STEPS):
        ids = np.array(CONTINUATIONS)
        written = (np.arange(STEPS) <= index) & (ids != 0)
        if shared:
            visible = (written[:, None, :, None] & own).reshape(len(ids), slots, -1)
        else:
            visible = np.repeat(written[:, None, :], slots, axis=1)
        newest = ops.convert_to_tensor(np.repeat(ids[:, index, None], slots, axis=1), "int32")
        place = ops.convert_to_tensor(index, "int32")
        logits, cache = step(newest, place, source, cache, ops.convert_to_tensor(visible))
        np.testing.assert_allclose(logits[:, 0], logits[:, 1], atol=tolerance / 10)
        found.append(logits[:, 1:])
    return ops.convert_to_numpy(ops.concatenate(found, axis=1))


def assert_steps_equal_the_graph(model, shared, conditioned=False, tolerance=1e-4):
    found = cached_logits(model, shared, conditioned, tolerance=tolerance)
    expected = plain_logits(model, conditioned)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert np.ptp(expected) > 2
