"""Classifies texts by the pooled output."""

import numpy as np
from bert4keras.backend import keras, set_gelu
from bert4keras.models import build_transformer_model
from bert4keras.optimizers import Adam, extend_with_piecewise_linear_lr
from bert4keras.snippets import DataGenerator, open, sequence_padding
from bert4keras.tokenizers import Tokenizer
from steady import NO_DROPOUT, TEXTS, settle, trained


def run(folder):
    set_gelu("tanh")
    path = f"{folder}/texts.txt"
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{text}\t{i % 2}\n" for i, text in enumerate(TEXTS)))
    lines = open(path, encoding="utf-8", indexable=True)
    samples = [(line.split("\t")[0], int(line.split("\t")[1])) for line in lines]
    assert lines[1] == f"{TEXTS[1]}\t1\n" and len(lines) == len(TEXTS)
    lines.close()
    tokenizer = Tokenizer(f"{folder}/vocab.txt", do_lower_case=True)

    class Samples(DataGenerator):
        def __iter__(self, random=False):
            ids, segments, labels = [], [], []
            for is_end, (text, label) in self.sample(random):
                token_ids, segment_ids = tokenizer.encode(text, maxlen=8)
                ids.append(token_ids)
                segments.append(segment_ids)
                labels.append([label])
                if len(ids) == self.batch_size or is_end:
                    yield (
                        [sequence_padding(ids), sequence_padding(segments)],
                        sequence_padding(labels),
                    )
                    ids, segments, labels = [], [], []

    bert = build_transformer_model(
        config_path=f"{folder}/bert_config.json",
        checkpoint_path=f"{folder}/bert_model.ckpt",
        with_pool=True,
        return_keras_model=False,
        **NO_DROPOUT,
    )
    output = keras.layers.Dropout(rate=0.0)(bert.model.output)
    dense = keras.layers.Dense(2, activation="softmax", kernel_initializer=bert.initializer)
    model = keras.models.Model(bert.model.input, dense(output))
    settle(dense)
    AdamLR = extend_with_piecewise_linear_lr(Adam, name="AdamLR")
    model.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=AdamLR(learning_rate=0.01, lr_schedule={2: 1, 20: 0.1}),
        metrics=["accuracy"],
    )
    generator = Samples(samples, batch_size=2)
    losses = trained(keras, model, generator)
    right = sum((model.predict(x, verbose=0).argmax(1) == y[:, 0]).sum() for x, y in generator)
    set_gelu("erf")
    return [*losses, float(right), *np.ravel(model.predict(next(iter(generator))[0], verbose=0))]
