"""Extracts relations: subjects first, then objects under the condition of a subject."""

import numpy as np
from bert4keras.backend import K, batch_gather, keras, search_layer
from bert4keras.layers import LayerNormalization, Loss
from bert4keras.models import build_transformer_model
from bert4keras.optimizers import Adam
from bert4keras.snippets import DataGenerator, sequence_padding
from bert4keras.tokenizers import Tokenizer
from steady import NO_DROPOUT, TEXTS, settle, trained

Dense, Input, Lambda = keras.layers.Dense, keras.layers.Input, keras.layers.Lambda


def subject_vector(inputs):
    states, places = inputs
    start, end = batch_gather(states, places[:, :1]), batch_gather(states, places[:, 1:])
    return K.concatenate([start, end], 2)[:, 0]


class TotalLoss(Loss):
    """Of subjects and objects, where there is no padding."""

    def compute_loss(self, inputs, mask=None):
        subject_labels, object_labels, subjects, objects, _ = inputs
        visible = 1.0 if mask[4] is None else K.cast(mask[4], K.floatx())
        one = K.mean(K.binary_crossentropy(subject_labels, subjects), 2)
        two = K.sum(K.mean(K.binary_crossentropy(object_labels, objects), 3), 2)
        return (K.sum(one * visible) + K.sum(two * visible)) / K.sum(visible)


def run(folder):
    tokenizer = Tokenizer(f"{folder}/vocab.txt", do_lower_case=True)

    class Samples(DataGenerator):
        def __iter__(self, random=False):
            rows = []
            for is_end, text in self.sample(random):
                ids, segments = tokenizer.encode(text, maxlen=8)
                subjects, objects = np.zeros((len(ids), 2)), np.zeros((len(ids), 3, 2))
                subjects[1, 0] = subjects[2, 1] = objects[3, 1, 0] = objects[3, 2, 1] = 1
                rows.append((ids, segments, subjects, (1, 2), objects))
                if len(rows) == self.batch_size or is_end:
                    ids, segments, subjects, places, objects = zip(*rows, strict=True)
                    padded = [sequence_padding(x) for x in (ids, segments, subjects)]
                    yield [*padded, np.array(places), sequence_padding(objects)], None
                    rows = []

    subject_labels = Input(shape=(None, 2), name="Subject-Labels")
    places = Input(shape=(2,), name="Subject-Ids")
    object_labels = Input(shape=(None, 3, 2), name="Object-Labels")
    bert = build_transformer_model(
        config_path=f"{folder}/bert_config.json",
        checkpoint_path=f"{folder}/bert_model.ckpt",
        return_keras_model=False,
        **NO_DROPOUT,
    )
    first = Dense(2, activation="sigmoid")
    subjects = Lambda(lambda x: x**2)(first(bert.model.output))
    states = bert.model.layers[-2].get_output_at(-1)
    subject = Lambda(subject_vector)([states, places])
    norm = LayerNormalization(conditional=True)
    second = Dense(6, activation="sigmoid")
    objects = Lambda(lambda x: x**4)(second(norm([states, subject])))
    objects = keras.layers.Reshape((-1, 3, 2))(objects)
    subjects, objects = TotalLoss([2, 3])(
        [subject_labels, object_labels, subjects, objects, bert.model.output]
    )
    model = keras.models.Model(
        bert.model.inputs + [subject_labels, places, object_labels], [subjects, objects]
    )
    settle(first, norm, second)
    assert search_layer(objects, "Embedding-Token") is bert.model.get_layer("Embedding-Token")
    assert search_layer(objects, "nowhere") is None
    model.compile(optimizer=Adam(1e-3))
    return trained(keras, model, Samples(TEXTS, batch_size=2))
