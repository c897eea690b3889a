"""Answers questions at masked places."""

import numpy as np
from bert4keras.backend import K, keras
from bert4keras.models import build_transformer_model
from bert4keras.optimizers import Adam
from bert4keras.snippets import DataGenerator, sequence_padding
from bert4keras.tokenizers import Tokenizer
from steady import NO_DROPOUT, TEXTS, predicted, trained

ANSWER = 3


def masked_crossentropy(y_true, y_pred):
    y_true = K.reshape(y_true, [K.shape(y_true)[0], -1])
    y_mask = K.cast(K.not_equal(y_true, 0), K.floatx())
    losses = K.sparse_categorical_crossentropy(y_true, y_pred)
    return K.sum(losses * y_mask) / K.sum(y_mask)


def run(folder):
    tokenizer = Tokenizer(f"{folder}/vocab.txt", do_lower_case=True)

    def question(text):
        ids = [tokenizer._token_start_id] + [tokenizer._token_mask_id] * ANSWER
        return ids + [tokenizer._token_end_id] + tokenizer.encode(text)[0][1:]

    class Samples(DataGenerator):
        def __iter__(self, random=False):
            ids, answers = [], []
            for is_end, text in self.sample(random):
                ids.append(question(text))
                answers.append(tokenizer.encode(text[:2])[0][1:])
                if len(ids) == self.batch_size or is_end:
                    ids = sequence_padding(ids)
                    yield [ids, np.zeros_like(ids)], sequence_padding(answers, ANSWER)
                    ids, answers = [], []

    model = build_transformer_model(
        f"{folder}/bert_config.json", f"{folder}/bert_model.ckpt", with_mlm=True, **NO_DROPOUT
    )
    output = keras.layers.Lambda(lambda x: x[:, 1 : ANSWER + 1])(model.output)
    model = keras.models.Model(model.input, output)
    model.compile(loss=masked_crossentropy, optimizer=Adam(1e-3))
    generator = Samples(TEXTS, batch_size=2)
    losses = trained(keras, model, generator)
    found = predicted(keras, model, generator, 1)
    return [*losses, *np.ravel(found[:, :, :5])]
