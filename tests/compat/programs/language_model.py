"""A language model whose loss leaves padding out, and which goes on writing."""

import numpy as np
from bert4keras.backend import K, keras
from bert4keras.layers import Loss
from bert4keras.models import build_transformer_model
from bert4keras.optimizers import Adam
from bert4keras.snippets import (  # noqa: F401
    AutoRegressiveDecoder,
    DataGenerator,
    sequence_padding,
    text_segmentate,
    uniout,
)
from bert4keras.tokenizers import Tokenizer
from steady import NO_DROPOUT, TEXTS, trained


class CrossEntropy(Loss):
    """Of what is not padding."""

    def compute_loss(self, inputs, mask=None):
        ids, probabilities = inputs
        visible = 1.0 if mask[1] is None else K.cast(mask[1], K.floatx())[:, 1:]
        losses = K.sparse_categorical_crossentropy(ids[:, 1:], probabilities[:, :-1])
        return K.sum(losses * visible) / K.sum(visible)


def run(folder):
    tokenizer = Tokenizer(f"{folder}/vocab.txt", do_lower_case=True)
    pieces = text_segmentate("。".join(TEXTS), 7, "。很的", "，。")

    class Samples(DataGenerator):
        def __iter__(self, random=False):
            ids, segments = [], []
            for is_end, text in self.sample(random):
                one, two = tokenizer.encode(text)
                ids.append(one)
                segments.append(two)
                if len(ids) == self.batch_size or is_end:
                    yield [sequence_padding(ids), sequence_padding(segments)], None
                    ids, segments = [], []

    model = build_transformer_model(
        f"{folder}/bert_config.json", f"{folder}/bert_model.ckpt", application="lm", **NO_DROPOUT
    )
    output = CrossEntropy(1)([model.inputs[0], model.outputs[0]])
    model = keras.models.Model(model.inputs, output)
    model.compile(optimizer=Adam(1e-3))
    losses = trained(keras, model, Samples(pieces, batch_size=2))

    class Story(AutoRegressiveDecoder):
        @AutoRegressiveDecoder.wraps(default_rtype="probas")
        def predict(self, inputs, output_ids, states):
            token_ids = np.concatenate([inputs[0], output_ids], 1)
            return self.last_token(model).predict([token_ids, np.zeros_like(token_ids)])

    story = Story(start_id=None, end_id=tokenizer._token_end_id, maxlen=5, minlen=3)
    found = story.random_sample([tokenizer.encode(TEXTS[0])[0][:-1]], n=2, topk=1)
    return [*losses, len(pieces), *(int(i) for ids in found for i in ids)]
