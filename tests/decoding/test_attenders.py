"""Each way to attend gives, layer by layer, what the graph gives for the same tokens.

`Prefill` and `Step` are tried through `CachedTransformer`, in test_cached_transformer.py.
"""

import numpy as np
import pytest
from cached_steps import randomize
from contract import compile
from keras import ops

from kexue_keras import models
from kexue_keras.decoding.attenders import Continuations, Extend, Prefill
from kexue_keras.decoding.cached_transformer import CachedTransformer

TEXT = np.random.default_rng(1).integers(1, 9, (1, 8)).astype("int32")
LONGEST = 12


def make(**config):
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "max_position": LONGEST, "vocab_size": 9}
    model = models.Bert(**sizes, application="lm", with_mlm="linear", **config)
    return randomize(model)


def graph(model, token_ids):
    """Logits of a text, filled up to the longest on the right."""
    padded = np.zeros((1, LONGEST), "int32")
    padded[0, : len(token_ids[0])] = token_ids[0]
    run = compile(lambda *inputs: model(list(inputs)), model.variables)
    return ops.convert_to_numpy(run(padded, np.zeros_like(padded)))[:, : len(token_ids[0])]


def logits(cached, token_ids, positions, attend):
    inputs = {"token_ids": token_ids, "segment_ids": ops.zeros_like(token_ids)}
    return cached.logits(
        inputs, positions if len(positions.shape) == 2 else positions[None], attend
    )


def reader(cached):
    """Reads a piece of a text that stands at `start` into a cache: logits, and the cache."""

    def read(token_ids, start, cache):
        positions = start + ops.arange(token_ids.shape[1], dtype="int32")
        attend = Extend(cached.blueprint, positions, cache, start)
        return logits(cached, token_ids, positions, attend), attend.updated

    return compile(read, cached.variables)


POSITIONS = pytest.mark.parametrize("position", ["learned", "rotary", "relative"])


@POSITIONS
def test_a_text_read_in_pieces(position):
    model = make(position=position)
    cached = CachedTransformer(model)
    read, cache = reader(cached), cached.empty_cache(1, 1, LONGEST, shared=True)
    found = []
    for start, end in ((0, 3), (3, 4), (4, 8)):
        piece = ops.convert_to_tensor(TEXT[:, start:end])
        after, cache = read(piece, ops.convert_to_tensor(start, "int32"), cache)
        found.append(ops.convert_to_numpy(after))
    np.testing.assert_allclose(np.concatenate(found, 1), graph(model, TEXT), atol=1e-4)


@POSITIONS
def test_continuations_each_from_a_place_of_its_own(position):
    model = make(position=position)
    cached = CachedTransformer(model)
    zero, cache = ops.zeros((), "int32"), cached.empty_cache(1, 1, LONGEST, shared=True)
    _, cache = reader(cached)(ops.convert_to_tensor(TEXT), zero, cache)
    lengths, moves = np.array([2, 8, 5], "int32"), np.array([[3, 4], [5, 6], [7, 8]], "int32")

    def follow(token_ids, lengths, cache):
        positions = lengths[:, None] + ops.arange(2, dtype="int32")
        attend = Continuations(cached.blueprint, positions, cache, lengths)
        return logits(cached, token_ids, positions, attend)

    tensors = [ops.convert_to_tensor(x) for x in (moves, lengths)]
    found = ops.convert_to_numpy(compile(follow, cached.variables)(*tensors, cache))
    for row, length, move in zip(found, lengths, moves, strict=True):
        whole = graph(model, [[*TEXT[0, :length], *move]])
        np.testing.assert_allclose(row, whole[0, length:], atol=1e-4)


class SharedBlocks(models.BertBlueprint):
    """All blocks have the layers of the first one."""

    def index(self, index):
        return 0


def test_blocks_that_share_a_layer_have_caches_of_their_own():
    sizes = {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "max_position": LONGEST, "vocab_size": 9}
    model = models.build_transformer_model(model=SharedBlocks, **sizes, application="lm")
    blueprint = randomize(model).blueprint
    assert blueprint.attention(0) is blueprint.attention(2)
    positions = ops.arange(8, dtype="int32")
    token_ids = ops.convert_to_tensor(TEXT)
    inputs = {"token_ids": token_ids, "segment_ids": ops.zeros_like(token_ids)}

    def read():
        attend = Prefill(blueprint, positions, blueprint.attention_mask(inputs))
        blueprint.run(inputs, positions[None], attend)
        return [key for key, _ in attend.caches]

    keys = [ops.convert_to_numpy(key) for key in compile(read, model.variables)()]
    assert len(keys) == 3 and keys[0].shape == (1, 2, 8, 8)
    assert np.abs(keys[0] - keys[1]).max() > 0.1
