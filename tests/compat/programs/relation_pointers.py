"""Extracts relations by pairs of positions, with averaged weights."""

import numpy as np
from bert4keras.backend import K, keras, sparse_multilabel_categorical_crossentropy
from bert4keras.layers import EfficientGlobalPointer, GlobalPointer
from bert4keras.models import build_transformer_model
from bert4keras.optimizers import Adam, extend_with_exponential_moving_average
from bert4keras.snippets import DataGenerator, sequence_padding
from bert4keras.tokenizers import Tokenizer
from steady import NO_DROPOUT, TEXTS, settle, trained


def crossentropy(y_true, y_pred):
    shape = K.shape(y_pred)
    y_true = K.cast(y_true, K.floatx())
    y_true = y_true[..., 0] * K.cast(shape[2], K.floatx()) + y_true[..., 1]
    y_pred = K.reshape(y_pred, (shape[0], -1, K.prod(shape[2:])))
    loss = sparse_multilabel_categorical_crossentropy(y_true, y_pred, True)
    return K.mean(K.sum(loss, axis=1))


def run(folder):
    tokenizer = Tokenizer(f"{folder}/vocab.txt", do_lower_case=True)

    class Samples(DataGenerator):
        def __iter__(self, random=False):
            rows = []
            for is_end, text in self.sample(random):
                ids, segments = tokenizer.encode(text, maxlen=8)
                ends = range(2, len(ids) - 1)
                pieces = [[(1, end) for end in ends], [(0, 0)]]
                heads = [[(1, 3), (2, 4)], [(0, 0)], [(3, 1)]]
                rows.append((ids, segments, *(sequence_padding(x) for x in (pieces, heads))))
                if len(rows) == self.batch_size or is_end:
                    ids, segments, pieces, heads = zip(*rows, strict=True)
                    targets = [sequence_padding(x, seq_dims=2) for x in (pieces, heads)]
                    yield [sequence_padding(ids), sequence_padding(segments)], targets
                    rows = []

    base = build_transformer_model(
        config_path=f"{folder}/bert_config.json",
        checkpoint_path=f"{folder}/bert_model.ckpt",
        return_keras_model=False,
        **NO_DROPOUT,
    )
    pieces = EfficientGlobalPointer(heads=2, head_size=8)
    heads = GlobalPointer(heads=3, head_size=4, RoPE=False, tril_mask=False)
    outputs = [pieces(base.model.output), heads(base.model.output)]
    model = keras.models.Model(base.model.inputs, outputs)
    settle(pieces, heads)
    AdamEMA = extend_with_exponential_moving_average(Adam, name="AdamEMA")
    optimizer = AdamEMA(learning_rate=1e-3)
    model.compile(loss=crossentropy, optimizer=optimizer)
    losses = trained(keras, model, Samples(TEXTS, batch_size=2))
    trained_weights = [np.sum(x) for x in pieces.get_weights()]
    optimizer.apply_ema_weights()
    assert np.abs(np.sum(pieces.get_weights()[0]) - trained_weights[0]) > 0
    optimizer.reset_old_weights()
    assert [np.sum(x) for x in pieces.get_weights()] == trained_weights
    found = model.predict([np.array(x)[None] for x in tokenizer.encode(TEXTS[0])], verbose=0)
    return [*losses, *np.ravel(found[1][0, :, 1:3])]
