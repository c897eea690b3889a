"""Writes titles with a UniLM, trained by a loss layer."""

import numpy as np
from bert4keras.backend import K, keras
from bert4keras.layers import Loss
from bert4keras.models import build_transformer_model
from bert4keras.optimizers import Adam
from bert4keras.snippets import AutoRegressiveDecoder, DataGenerator, sequence_padding
from bert4keras.tokenizers import Tokenizer, load_vocab
from steady import NO_DROPOUT, TEXTS, trained


class CrossEntropy(Loss):
    """Of the second segment."""

    def compute_loss(self, inputs, mask=None):
        ids, visible, probabilities = inputs
        losses = K.sparse_categorical_crossentropy(ids[:, 1:], probabilities[:, :-1])
        return K.sum(losses * visible[:, 1:]) / K.sum(visible[:, 1:])


def run(folder):
    token_dict, keep_tokens = load_vocab(
        dict_path=f"{folder}/vocab.txt",
        simplified=True,
        startswith=["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
    )
    tokenizer = Tokenizer(token_dict, do_lower_case=True)

    class Samples(DataGenerator):
        def __iter__(self, random=False):
            ids, segments = [], []
            for is_end, text in self.sample(random):
                one, two = tokenizer.encode(text, text[:2], maxlen=9)
                ids.append(one)
                segments.append(two)
                if len(ids) == self.batch_size or is_end:
                    yield [sequence_padding(ids), sequence_padding(segments)], None
                    ids, segments = [], []

    model = build_transformer_model(
        f"{folder}/bert_config.json",
        f"{folder}/bert_model.ckpt",
        application="unilm",
        keep_tokens=keep_tokens,
        **NO_DROPOUT,
    )
    output = CrossEntropy(2)(model.inputs + model.outputs)
    model = keras.models.Model(model.inputs, output)
    model.compile(optimizer=Adam(1e-3))
    losses = trained(keras, model, Samples(TEXTS, batch_size=2))

    class Titles(AutoRegressiveDecoder):
        @AutoRegressiveDecoder.wraps(default_rtype="probas")
        def predict(self, inputs, output_ids, states):
            token_ids, segment_ids = inputs
            token_ids = np.concatenate([token_ids, output_ids], 1)
            segment_ids = np.concatenate([segment_ids, np.ones_like(output_ids)], 1)
            return self.last_token(model).predict([token_ids, segment_ids])

    titles = Titles(start_id=None, end_id=tokenizer._token_end_id, maxlen=4)
    found = [titles.beam_search(tokenizer.encode(text), topk=1) for text in TEXTS[:2]]
    return [*losses, *(int(i) for ids in found for i in ids)]
