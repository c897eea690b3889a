"""Labels characters by a CRF on a middle layer."""

import numpy as np
from bert4keras.backend import K, keras
from bert4keras.layers import ConditionalRandomField
from bert4keras.models import build_transformer_model
from bert4keras.optimizers import Adam
from bert4keras.snippets import DataGenerator, ViterbiDecoder, sequence_padding, to_array
from bert4keras.tokenizers import Tokenizer
from steady import NO_DROPOUT, TEXTS, settle, trained


def run(folder):
    tokenizer = Tokenizer(f"{folder}/vocab.txt", do_lower_case=True)

    class Samples(DataGenerator):
        def __iter__(self, random=False):
            rows = []
            for is_end, text in self.sample(random):
                token_ids = [tokenizer._token_start_id]
                token_ids += tokenizer.encode(text)[0][1:-1] + [tokenizer._token_end_id]
                rows.append((token_ids, [0] * len(token_ids), np.arange(len(token_ids)) % 3))
                if len(rows) == self.batch_size or is_end:
                    ids, segments, labels = (sequence_padding(x) for x in zip(*rows, strict=True))
                    yield [ids, segments], labels
                    rows = []

    model = build_transformer_model(
        f"{folder}/bert_config.json", f"{folder}/bert_model.ckpt", **NO_DROPOUT
    )
    output = model.get_layer("Transformer-0-FeedForward-Norm").output
    dense = keras.layers.Dense(3)
    crf = ConditionalRandomField(lr_multiplier=10)
    model = keras.models.Model(model.input, crf(dense(output)))
    settle(dense, crf)
    model.compile(loss=crf.sparse_loss, optimizer=Adam(1e-3), metrics=[crf.sparse_accuracy])
    losses = trained(keras, model, Samples(TEXTS, batch_size=2))

    class Labeller(ViterbiDecoder):
        def labels(self, text):
            tokens = tokenizer.tokenize(text)
            ids = tokenizer.tokens_to_ids(tokens)
            ids, segments = to_array([ids], [[0] * len(ids)])
            nodes = model.predict([ids, segments], verbose=0)[0]
            assert len(tokenizer.rematch(text, tokens)) == len(nodes)
            return [int(label) for label in self.decode(nodes)]

    labeller = Labeller(trans=K.eval(crf.trans), starts=[0], ends=[0])
    return [*losses, *np.ravel(labeller.trans), *labeller.labels(TEXTS[1])]
