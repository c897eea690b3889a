"""Each way to attend gives, layer by layer, what the graph gives for the same tokens.

`Prefill` and `Step` are tried through `CachedTransformer`, in test_cached_transformer.py.
"""

import numpy as np
import pytest
from cached_steps import randomize
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
    token_ids = np.array(token_ids, "int32")
    return ops.convert_to_numpy(model([token_ids, np.zeros_like(token_ids)]))


def run(cached, token_ids, positions, attend):
    token_ids = ops.convert_to_tensor(token_ids)
    inputs = {"token_ids": token_ids, "segment_ids": ops.zeros_like(token_ids)}
    positions = positions if len(positions.shape) == 2 else positions[None]
    blueprint = cached.blueprint
    return ops.convert_to_numpy(blueprint.head(blueprint.run(inputs, positions, attend)))


POSITIONS = pytest.mark.parametrize("position", ["learned", "rotary", "relative"])


@POSITIONS
def test_a_text_read_in_pieces(position):
    model = make(position=position)
    cached = CachedTransformer(model)
    cache = cached.empty_cache(1, 1, LONGEST, shared=True)
    found = []
    for start, end in ((0, 3), (3, 4), (4, 8)):
        positions = ops.arange(start, end, dtype="int32")
        attend = Extend(cached.blueprint, positions, cache, ops.convert_to_tensor(start, "int32"))
        found.append(run(cached, TEXT[:, start:end], positions, attend))
        cache = attend.updated
    np.testing.assert_allclose(np.concatenate(found, 1), graph(model, TEXT), atol=1e-4)


@POSITIONS
def test_continuations_each_from_a_place_of_its_own(position):
    model = make(position=position)
    cached = CachedTransformer(model)
    positions = ops.arange(8, dtype="int32")
    attend = Extend(
        cached.blueprint,
        positions,
        cached.empty_cache(1, 1, LONGEST, shared=True),
        ops.convert_to_tensor(0, "int32"),
    )
    run(cached, TEXT, positions, attend)
    lengths, moves = np.array([2, 8, 5], "int32"), np.array([[3, 4], [5, 6], [7, 8]], "int32")
    places = ops.convert_to_tensor(lengths[:, None] + np.arange(2, dtype="int32"))
    lengths_tensor = ops.convert_to_tensor(lengths)
    attend = Continuations(cached.blueprint, places, attend.updated, lengths_tensor)
    found = run(cached, moves, places, attend)
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
    attend = Prefill(blueprint, positions, blueprint.attention_mask(inputs))
    blueprint.run(inputs, positions[None], attend)
    keys = [ops.convert_to_numpy(key) for key, _ in attend.caches]
    assert len(keys) == 3 and keys[0].shape == (1, 2, 8, 8)
    assert np.abs(keys[0] - keys[1]).max() > 0.1
