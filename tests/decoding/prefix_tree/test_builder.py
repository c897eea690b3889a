"""External sorting: any working memory gives the same tree, the stream is read once."""

import random

import numpy as np
import pytest

from kexue_keras.decoding.prefix_tree.builder import build_arrays


def random_stream(count):
    generator = random.Random(count)
    for number in range(count):
        size = generator.choice([0, 1, 2, 5, 40])
        yield [generator.choice([0, 1, 255, 256, 65535]) for _ in range(size)], str(number)


@pytest.mark.parametrize("memory", [1, 5_000, 100_000])
def test_memory_changes_nothing_but_the_state_numbers(memory, tmp_path):
    meta, arrays = build_arrays(random_stream(500), None, tmp_path, True)
    small_meta, small = build_arrays(random_stream(500), None, tmp_path, True, memory)
    assert {**small_meta, "root": 0} == {**meta, "root": 0}
    for name in ("payload_start", "payload_bytes", "final_bits"):
        assert len(small[name]) == len(arrays[name])
    for name in ("payload_start", "payload_bytes"):
        assert np.array_equal(small[name], arrays[name])


def test_the_stream_is_read_once_and_lazily(tmp_path):
    taken = []

    def stream():
        for number in range(300):
            taken.append(number)
            yield [number % 10, number % 3]

    meta, arrays = build_arrays(stream(), None, tmp_path, True, memory=10_000)
    assert taken == list(range(300)) and meta["num_keys"] == 30
    assert len(arrays["payload_bytes"]) == len(arrays["payload_start"]) == 0


def test_uneven_payloads_are_refused(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        build_arrays([[1], [2]], ["a"], tmp_path, True)


def test_keys_of_very_different_length(tmp_path):
    stream = [[1] * 9_000, [1] * 8_999, [2], []]
    meta, _ = build_arrays(stream, None, tmp_path, True, memory=1 << 20)
    assert meta["num_keys"] == 4
    with pytest.raises(ValueError, match="65535 tokens at most. Received: 65536"):
        build_arrays([[1] * 65_536], None, tmp_path, True)
