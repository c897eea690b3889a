"""The lengths that batches are padded to."""

import pytest

from kexue_keras.experiments.buckets import buckets


@pytest.mark.parametrize("maxlen", [3, 8, 9, 64, 100, 128, 192, 512, 1000])
@pytest.mark.parametrize("step", [8, 16])
def test_lengths_ascend_to_the_longest(maxlen, step):
    for compiled in (False, True, None):
        lengths = buckets(maxlen, step, compiled)
        assert list(lengths) == sorted(set(lengths)) and lengths[-1] == maxlen and lengths[0] > 0
    fine, coarse = buckets(maxlen, step, False), buckets(maxlen, step, True)
    assert all(n % step == 0 for n in fine[:-1]) and len(fine) == -(-maxlen // step)
    assert all(n % 32 == 0 for n in coarse[:-1]) and len(coarse) <= 4
    assert buckets(maxlen, step) in (fine, coarse)
