"""bert4keras's decoder: ends inside texts, and quick predictions."""

import keras
import numpy as np
import pytest

from kexue_keras import decoding
from kexue_keras.compat.auto_regressive_decoder import AutoRegressiveDecoder

pytestmark = pytest.mark.once


def decoder_of(base, *arguments, **options):
    class Decoder(base):
        @base.wraps(default_rtype="probas")
        def predict(self, inputs, output_ids, states):
            odd = np.array([[0.1, 0.2, 0.7]]) if output_ids.shape[1] % 2 else [[0.3, 0.6, 0.1]]
            return np.repeat(odd, len(output_ids), axis=0)

    return Decoder(*arguments, **options)


@pytest.mark.parametrize("method", ["beam_search", "random_sample"])
def test_the_end_stands_inside_a_text_before_minlen(method):
    """Token 2, the end, is the most probable one at every second place."""

    def decode(decoder):
        found = getattr(decoder, method)([np.zeros(1)], 1, **options)
        return np.array(found).ravel().tolist()

    options = {"topk": 1} if method == "random_sample" else {}
    if method == "beam_search":
        decode_ = lambda d: d.beam_search([np.zeros(1)], topk=1).tolist()  # noqa: E731
    else:
        decode_ = decode
    assert decode_(decoder_of(AutoRegressiveDecoder, None, 2, 8, 5)) == [1, 2, 1, 2, 1, 2]
    assert decode_(decoder_of(AutoRegressiveDecoder, None, 2, 8)) == [1, 2]
    ours = decode_(decoder_of(decoding.AutoRegressiveDecoder, None, 2, 8, 5))
    assert 2 not in ours[:-1] and len(ours) >= 5


def test_predictions_for_the_last_token():
    x = keras.Input((None,))
    y = keras.layers.Lambda(lambda x: x[..., None] * 2.0)(x)
    decoder = decoder_of(AutoRegressiveDecoder, None, 2, 8)
    last = decoder.last_token(keras.Model(x, y))
    assert last.predict([np.array([[1.0, 3.0]])]).tolist() == [[6.0]]
    assert last.predict(np.array([[1.0, 3.0, 4.0]]), verbose=0).tolist() == [[8.0]]
