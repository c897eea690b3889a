"""Writes texts of a class that the layer normalizations depend on."""

import numpy as np
from bert4keras.backend import K, keras
from bert4keras.layers import Loss
from bert4keras.models import build_transformer_model
from bert4keras.optimizers import Adam
from bert4keras.snippets import AutoRegressiveDecoder, DataGenerator, sequence_padding
from bert4keras.tokenizers import Tokenizer
from steady import NO_DROPOUT, TEXTS, settle, trained


class CrossEntropy(Loss):
    """Of what is not padding."""

    def compute_loss(self, inputs, mask=None):
        ids, probabilities = inputs
        visible = 1.0 if mask[1] is None else K.cast(mask[1], K.floatx())[:, 1:]
        losses = K.sparse_categorical_crossentropy(ids[:, 1:], probabilities[:, :-1])
        return K.sum(losses * visible) / K.sum(visible)


def run(folder):
    tokenizer = Tokenizer(f"{folder}/vocab.txt", do_lower_case=True)

    class Samples(DataGenerator):
        def __iter__(self, random=False):
            rows = []
            for is_end, (text, label) in self.sample(random):
                rows.append((*tokenizer.encode(text), [label]))
                if len(rows) == self.batch_size or is_end:
                    yield [sequence_padding(x) for x in zip(*rows, strict=True)], None
                    rows = []

    label = keras.layers.Input(shape=(1,))
    table = keras.layers.Embedding(2, 6)
    condition = keras.layers.Reshape((6,))(table(label))
    settle(table)
    model = build_transformer_model(
        f"{folder}/bert_config.json",
        f"{folder}/bert_model.ckpt",
        application="lm",
        layer_norm_cond=condition,
        additional_input_layers=label,
        **NO_DROPOUT,
    )
    output = CrossEntropy(1)([model.inputs[0], model.outputs[0]])
    model = keras.models.Model(model.inputs, output)
    model.compile(optimizer=Adam(1e-3))
    samples = [(text, i % 2) for i, text in enumerate(TEXTS)]
    losses = trained(keras, model, Samples(samples, batch_size=2))

    class Texts(AutoRegressiveDecoder):
        @AutoRegressiveDecoder.wraps(default_rtype="probas")
        def predict(self, inputs, output_ids, states):
            return self.last_token(model).predict(
                [output_ids, np.zeros_like(output_ids), inputs[0]]
            )

    texts = Texts(tokenizer._token_start_id, end_id=tokenizer._token_end_id, maxlen=4)
    found = [texts.beam_search([[label]], topk=1) for label in (0, 1)]
    return [*losses, *(int(i) for ids in found for i in ids)]
