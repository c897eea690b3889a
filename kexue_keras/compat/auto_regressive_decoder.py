"""bert4keras's decoder: ours, with bert4keras's meaning of `minlen` and quick predictions."""

import keras

from kexue_keras import decoding


class AutoRegressiveDecoder(decoding.AutoRegressiveDecoder):
    """See `kexue_keras.decoding.AutoRegressiveDecoder`.

    Before `minlen`, `end_id` may stand inside a text. `last_token(model).predict` predicts one
    batch directly: Keras's `predict` would make a data set of it first, for every token.
    """

    def __init__(self, start_id, end_id, maxlen, minlen=1):
        super().__init__(start_id, end_id, maxlen, minlen, early_ends=True)

    def last_token(self, model):
        if model not in self.models:
            last = super().last_token(model)
            last.predict = _predict_of(last)
        return self.models[model]


def _predict_of(model):
    def predict(x, *args, **kwargs):
        """Of one batch; other arguments of Keras's `predict` are passed over."""
        return model.predict_on_batch(keras.tree.map_structure(keras.ops.convert_to_numpy, x))

    return predict
