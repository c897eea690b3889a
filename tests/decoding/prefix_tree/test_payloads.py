"""Strings of keys in compressed blocks: what is written is read, in any order."""

import io
import random

import numpy as np
import pytest

from kexue_keras.decoding.prefix_tree.payloads import (
    BLOCK,
    Payloads,
    PayloadWriter,
    encode_payload,
    merge_payloads,
)

pytestmark = pytest.mark.once


def written(parts):
    """A reader of the payloads that a writer was given in several parts, and the bytes."""
    file = io.BytesIO()
    writer = PayloadWriter(file)
    for part in parts:
        writer.add([encode_payload(payload) for payload in part])
    starts = writer.finish()
    return Payloads(starts, np.frombuffer(file.getvalue(), np.uint8)), starts, file.getvalue()


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
def test_any_order_and_any_parts(count):
    rng = random.Random(count)
    texts = [
        rng.choices(["天", "", "a\n", "\x00", "þÿ", str(i)], k=(i + 1) % 4) for i in range(count)
    ]
    whole, starts, content = written([texts])
    cuts = [0, *sorted(rng.choices(range(count + 1), k=5)), count]
    parts = [texts[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
    assert written(parts)[2] == content
    assert len(starts) == -(-count // BLOCK) + 1 and starts[-1] == len(content)
    for rank in rng.choices(range(count), k=200):
        assert whole[rank] == tuple(dict.fromkeys(texts[rank]))


def test_no_strings_take_no_room():
    payloads, starts, content = written([[None] * 1000])
    assert payloads[999] == () and len(starts) == len(content) == 0


def test_an_empty_string_is_a_string():
    assert written([["", None, [], ["", ""]]])[0][0] == ("",)
    payloads = written([["", None, [], ["", ""]]])[0]
    assert [payloads[rank] for rank in range(4)] == [("",), (), (), ("",)]


def test_equal_keys_share_their_strings():
    parts = [encode_payload(p) for p in (["c", "a"], None, "b", ["a", "d"])]
    assert merge_payloads(parts) == encode_payload(["c", "a", "b", "d"])


def test_other_things_are_refused():
    with pytest.raises(TypeError, match="payload.*Received: \\[1\\]"):
        encode_payload([1])
