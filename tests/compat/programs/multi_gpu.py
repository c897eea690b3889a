"""Classifies texts in the scope of a strategy, from a data set of single samples."""

import tensorflow as tf
from bert4keras.backend import keras
from bert4keras.models import build_transformer_model
from bert4keras.optimizers import Adam
from bert4keras.snippets import DataGenerator
from bert4keras.tokenizers import Tokenizer
from steady import NO_DROPOUT, STEPS, TEXTS, recorder, settle


def run(folder):
    tokenizer = Tokenizer(f"{folder}/vocab.txt", do_lower_case=True)

    class Samples(DataGenerator):
        def __iter__(self, random=False):
            for _, (text, label) in self.sample(False):
                token_ids, segment_ids = tokenizer.encode(text, maxlen=8)
                yield [token_ids, segment_ids], [[label]]

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        bert = build_transformer_model(
            config_path=f"{folder}/bert_config.json",
            checkpoint_path=None,
            return_keras_model=False,
            **NO_DROPOUT,
        )
        output = keras.layers.Lambda(lambda x: x[:, 0])(bert.model.output)
        dense = keras.layers.Dense(2, activation="softmax", name="Probas")
        model = keras.models.Model(bert.model.input, dense(output))
        model.compile(
            loss="sparse_categorical_crossentropy",
            optimizer=Adam(1e-3),
            metrics=["sparse_categorical_accuracy"],
        )
        bert.load_weights_from_checkpoint(f"{folder}/bert_model.ckpt")
        settle(dense)
    dataset = Samples([(text, i % 2) for i, text in enumerate(TEXTS)], 2).to_dataset(
        types=[("float32", "float32"), ("float32",)],
        shapes=[([None], [None]), ([1],)],
        names=[("Input-Token", "Input-Segment"), ("Probas",)],
        padded_batch=True,
    )
    record = recorder(keras)
    model.fit(dataset, steps_per_epoch=STEPS, callbacks=[record], verbose=0)
    return record.losses
